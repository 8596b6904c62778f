"""How fast an arm finds a taste that jumped: its share of the way from random to the oracle, by events and by time.

Shares are of the expected reward, which has no luck in it. Intervals are 95 %, from a bootstrap over viewers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.catalogue import Floats
from producers.measures import RANDOM, Measures

BEFORE_MS = 60_000  # the level to come back to is that of the minute before the jump
EVENTS, BLOCKS = 5, 12  # of a viewer after the jump, in blocks
PERIOD_MS, PERIODS = 10_000, 12
BACK, AIM = 0.8, 0.9
_REPLICATES = 400


class Followed(Measures):
    """Measures that also keep every impression from a minute before the jump on.

    Args:
      jump_ms: when every taste jumps.
    """

    def __init__(self, arms: Sequence[str], viewers: int, seed: int, jump_ms: int) -> None:
        super().__init__(arms, viewers, seed)
        self.viewers, self.jump_ms = viewers, jump_ms
        self._kept: list[tuple[int, int, NDArray[np.int64], Floats]] = []

    def add(
        self,
        now_ms: int,
        arm: int,
        viewers: NDArray[np.int64],
        reward: Floats,
        expected: Floats,
        versions: Sequence[int] = (),
    ) -> None:
        """Add one impression of each of `viewers` [B], all different."""
        super().add(now_ms, arm, viewers, reward, expected, versions)
        if now_ms >= self.jump_ms - BEFORE_MS:
            self._kept.append((now_ms, arm, viewers, expected))

    def recovery(self) -> dict[str, Any]:
        """Return the shares before and after the jump, and how soon they are back, by arm; ready for JSON."""
        counts = [len(viewers) for _, _, viewers, _ in self._kept]
        at = np.repeat([at for at, _, _, _ in self._kept], counts) - self.jump_ms
        arm = np.repeat([arm for _, arm, _, _ in self._kept], counts)
        viewers = np.concatenate([viewers for _, _, viewers, _ in self._kept])
        expected = np.concatenate([expected for _, _, _, expected in self._kept])
        after = at >= 0
        step = np.full(len(at), -1)
        step[after] = nth(arm[after] * self.viewers + viewers[after])
        cells = {
            "before": np.where(after, -1, 0),
            "by_events": np.where(after, step // EVENTS, -1),
            "by_time": np.where(after, at // PERIOD_MS, -1),
        }
        sizes = {"before": 1, "by_events": BLOCKS, "by_time": PERIODS}
        weights = resampled(self.viewers)
        shares = {
            name: shares_of(cell, sizes[name], arm, viewers, expected, self.arms, weights)
            for name, cell in cells.items()
        }
        return {
            name: _of_arm({part: values[:, :, place] for part, values in shares.items()})
            for place, name in enumerate(self.arms[:-1])
            if name != RANDOM
        }


def nth(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many equal keys [M] stand before each."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    found = np.empty(len(keys), np.int64)
    found[order] = np.arange(len(keys)) - np.searchsorted(ranked, ranked, "left")
    return found


def resampled(viewers: int) -> Floats:
    """Return weights [R + 1, V] of viewers; the first row counts each once."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(viewers, np.full(viewers, 1.0 / viewers), _REPLICATES)
    return np.concatenate([np.ones((1, viewers)), drawn])


def shares_of(
    cell: NDArray[np.int64],
    cells: int,
    arm: NDArray[np.int64],
    viewers: NDArray[np.int64],
    expected: Floats,
    arms: Sequence[str],
    weights: Floats,
) -> Floats:
    """Return shares [R + 1, cells, A] of impressions [M].

    Args:
      cell: place of each impression; those outside [0, cells) do not count.
      arms: names; the last is the oracle.
      weights: [R + 1, V] of viewers.
    """
    inside = (cell >= 0) & (cell < cells)
    place = (cell[inside] * len(arms) + arm[inside], viewers[inside])
    sums = np.zeros((2, cells * len(arms), weights.shape[1]))
    np.add.at(sums[0], place, expected[inside])
    np.add.at(sums[1], place, 1.0)
    total, count = (sums @ weights.T).transpose(0, 2, 1).reshape(2, len(weights), cells, len(arms))
    means = total / np.where(count > 0, count, np.nan)
    low, high = means[..., [arms.index(RANDOM)]], means[..., [-1]]
    found: Floats = (means - low) / (high - low)
    return found


def _of_arm(shares: dict[str, Floats]) -> dict[str, Any]:
    """Return one arm's figures of shares [R + 1, cells] by name."""
    level = shares["before"][0, 0]
    found: dict[str, Any] = {
        name: [[_rounded(values[0, place]), *_interval(values[1:, place])] for place in range(values.shape[1])]
        for name, values in shares.items()
    }
    found["before"] = found["before"][0]
    ends = np.arange(1, BLOCKS + 1) * EVENTS, np.arange(1, PERIODS + 1) * PERIOD_MS // 1000
    for name, end, values in zip(("events", "seconds"), ends, (shares["by_events"], shares["by_time"]), strict=True):
        for part in (BACK, AIM):
            back = np.flatnonzero(values[0] >= part * level)
            found[f"{name}_to_{part:.0%}"] = int(end[back[0]]) if len(back) else None
    return found


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _interval(values: Floats) -> list[float | None]:
    values = values[np.isfinite(values)]
    if len(values) < _REPLICATES // 2:
        return [None, None]
    return [_rounded(one) for one in np.quantile(values, [0.025, 0.975])]
