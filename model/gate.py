"""Whether a candidate may serve: paired difference of log-loss on stretches that neither version was trained on.

The newest stretch tells whether a candidate learned something. It may be poisoned together with what the candidate was
trained on, so an older one, of feedback that nobody is ever trained on, has a veto.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from model.examples import Ints
from streams.core.ports import Floats

RESAMPLES = 500
FEWEST_ANCHORS = 100  # below it the older stretch says too little to refuse anything


@dataclass(frozen=True)
class Verdict:
    """The judgement of one candidate; losses are weighted means in nats.

    Attributes:
      difference: candidate minus incumbent; negative is better. `low` and `high` bound its 95 % interval.
      examples, users: what the judgement rests on.
      reason: one sentence for a person.
    """

    accepted: bool
    candidate: float
    incumbent: float
    difference: float
    low: float
    high: float
    examples: int
    users: int
    reason: str


def log_losses(logits: Floats, labels: Floats) -> Floats:
    """Return cross-entropies [n] in nats of graded labels [n] in [0, 1]."""
    losses: Floats = np.logaddexp(np.float32(0.0), logits) - labels * logits
    return losses


def judge(candidate: Floats, incumbent: Floats, weights: Floats, users: Ints, margin: float, seed: int = 0) -> Verdict:
    """Accept a candidate whose mean loss is no more than `margin` above the incumbent's.

    The interval is a bootstrap over users, since the examples of one user go together.

    Args:
      candidate, incumbent: losses [n] of the same examples, aligned.
      weights: [n] how much each example counts.
      users: [n] who it belongs to.
      margin: in nats.
      seed: of the bootstrap.
    """
    count = len(candidate)
    if not count:
        nan = float("nan")
        return Verdict(False, nan, nan, nan, nan, nan, 0, 0, "refused: nothing was held back to judge it on")
    total = float(weights.sum())
    mean = float(candidate @ weights / total)
    before = float(incumbent @ weights / total)
    if not np.isfinite(candidate).all():
        nan = float("nan")
        return Verdict(False, mean, before, nan, nan, nan, count, 0, "refused: its scores are not all finite")
    _, who = np.unique(users, return_inverse=True)
    sums = np.bincount(who, (candidate - incumbent) * weights)
    sizes = np.bincount(who, weights)
    low, high = _interval(sums, sizes, seed)
    difference = float(sums.sum() / total)
    accepted = difference <= margin
    reason = (
        f"{'accepted' if accepted else 'refused'}: log-loss {mean:.4f} against {before:.4f} "
        f"on {count} held-back examples of {len(sums)} users, "
        f"difference {difference:+.4f} (95 % from {low:+.4f} to {high:+.4f}), margin {margin:g}"
    )
    return Verdict(accepted, mean, before, difference, low, high, count, len(sums), reason)


def anchored(verdict: Verdict, older: Verdict) -> Verdict:
    """Return the verdict on the newest stretch, refused when the older one shows harm beyond its margin.

    Args:
      older: of `judge` on reserved examples of accepted stretches, with a margin of its own.
    """
    if older.examples < FEWEST_ANCHORS or older.accepted or not older.low > 0.0:
        return verdict
    reason = (
        f"refused: log-loss {older.candidate:.4f} against {older.incumbent:.4f} on {older.examples} older trusted "
        f"examples of {older.users} users, difference {older.difference:+.4f} (95 % from {older.low:+.4f} to "
        f"{older.high:+.4f}); what is new contradicts them and is dropped"
    )
    return replace(verdict, accepted=False, reason=reason)


def _interval(sums: np.ndarray, sizes: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % points of the mean under resampling of users, given sums and weights [users]."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1.0 / len(sums)), size=RESAMPLES)
    means = (drawn @ sums) / np.maximum(drawn @ sizes, 1e-9)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
