"""The freshness ablation on KuaiRand: one online pass, and the same targets ranked with parts of the model held back.

A day of log time ends at midnight UTC. Learning itself is no faster than its steps: of the linear scorer every 16
targets, of the networks every 64, of the GRU every 256.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.datasets import Dataset, Log
from model.delays import NEVER
from model.evaluate import Outcome, prequential, seen_before
from model.freshness import FRESH, Freshness, Setting
from model.metrics import GAINS, auc, bootstrap_mean
from model.recommender import Recommender, RecommenderConfig

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
DELAYS = {
    "state": {"1 min": MINUTE, "10 min": 10 * MINUTE, "1 h": HOUR, "1 day": DAY},
    "weights": {
        "10 s": 10 * SECOND, "1 min": MINUTE, "10 min": 10 * MINUTE, "1 h": HOUR, "1 day": DAY, "never": NEVER
    },
    "learned": {"10 min": 10 * MINUTE, "1 h": HOUR, "1 day": DAY, "never": NEVER},
}  # fmt: skip
_DRAWS = 200  # of the AUC's bootstrap

Reals = NDArray[np.float64]


def settings() -> list[Setting]:
    """Return a setting for each point, with everything else at once; `learned` is weights, counts and co-occurrence."""
    makers: Mapping[str, Callable[[str, int], Setting]] = {
        "state": lambda name, every: Setting(name, state=every),
        "weights": lambda name, every: Setting(name, weights=every),
        "learned": lambda name, every: Setting(name, weights=every, counts=every),
    }
    return [makers[axis](f"{axis} {name}", every) for axis, found in DELAYS.items() for name, every in found.items()]


def first_days(log: Log, days: float) -> Log:
    """Return the events within so many days of the first."""
    return log.take(log.time_ms < log.time_ms[0] + round(days * DAY))


def run_seed(
    data: Dataset, config: RecommenderConfig, days: float, every: int, seed: int, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Return a row for each point, after one warm-up and one pass; of the targets every so many are judged."""
    log = first_days(data.streams[0][1], days)
    data = replace(data, streams=[(data.streams[0][0], log)])
    leader = Recommender(config, data, seed, surfaces=True)
    leader.warm(data.warm, tell)
    model = Freshness(leader, settings(), int(log.time_ms[0]), every)
    outcome = prequential(model, log, seen_before(data), partial(tell, "events"))
    if outcome.broken:
        raise RuntimeError(f"{outcome.broken} scores were not finite")
    found = rows(log, outcome, every)
    return {"seed": seed, "days": days, "events": len(log), "targets": len(outcome.rows[::every]), "rows": found}


def rows(log: Log, outcome: Outcome, every: int = 1) -> list[dict[str, Any]]:
    """Return figures of every point, with what is lost against everything at once; intervals are 95 %, paired."""
    users, labels = log.user[outcome.rows[::every]], log.positive[::every].astype(np.int64)
    best = {name: gain(outcome.ranks[FRESH]) for name, gain in GAINS.items()}
    areas = _areas(outcome.predictions, labels, log.user[::every])
    found = []
    for name, ranks in outcome.ranks.items():
        axis, _, delay = name.partition(" ")
        row: dict[str, Any] = {"axis": axis, "every": delay or "at once"}
        for metric in ("recall_at_20", "mrr_at_20"):
            gains = GAINS[metric](ranks)
            value, lost = bootstrap_mean(gains, users), bootstrap_mean(best[metric] - gains, users)
            row[metric] = round(value.value, 5)
            row[f"{metric}_interval"] = [round(value.low, 5), round(value.high, 5)]
            row[f"{metric}_lost"] = round(lost.value, 5)
            row[f"{metric}_lost_interval"] = [round(lost.low, 5), round(lost.high, 5)]
        row["ranks_changed"] = round(float((ranks != outcome.ranks[FRESH]).mean()), 4)
        if name in areas:
            value, spread = areas[name][0], areas[FRESH] - areas[name]
            row["auc"], row["auc_lost"] = round(float(value), 5), round(float(spread[0]), 5)
            row["auc_lost_interval"] = [round(float(one), 5) for one in np.percentile(spread[1:], [2.5, 97.5])]
        found.append(row)
    return found


def _areas(predictions: Mapping[str, Reals], labels: NDArray[np.int64], users: NDArray[np.int64]) -> dict[str, Reals]:
    """Return by point the AUC, then that of draws of users with replacement; the same draws for all points."""
    groups, place = np.unique(users, return_inverse=True)
    rng = np.random.default_rng(0)
    drawn = [rng.poisson(1.0, len(groups))[place] for _ in range(_DRAWS)]
    return {
        name: np.array([auc(logits, labels), *(auc(np.repeat(logits, one), np.repeat(labels, one)) for one in drawn)])
        for name, logits in predictions.items()
    }
