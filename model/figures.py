"""Ranks to the figures that are reported: means with intervals, by stream, day, history length and video exposures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.datasets import Dataset
from model.metrics import GAINS, auc, bootstrap_mean, grouped_auc

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]

ARMS = ("frozen", "online")
_CHINA = timedelta(hours=8)  # days of the KuaiRand log
BANDS = ((0, 10), (10, 20), (20, 50), (50, 100), (100, 1_000_000))


@dataclass(frozen=True)
class Targets:
    """Targets of all streams in order [T], and the gains of each arm's variants, averaged over seeds.

    Attributes:
      ranks: arm, then variant, to ranks [S, T] by seed.
      user, time_ms, stream, ages, exposures: int64 [T]; events the user had before, exposures the item had before.
    """

    ranks: Mapping[str, Mapping[str, Reals]]
    user: Ints
    time_ms: Ints
    stream: Ints
    ages: Ints
    exposures: Ints

    def gains(self, arm: str, variant: str, metric: str) -> Reals:
        """Return gains [T], the mean over seeds."""
        mean: Reals = GAINS[metric](self.ranks[arm][variant]).mean(0)
        return mean


def figures(targets: Targets, arm: str, variant: str, where: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Return the metrics of a variant, and `intervals` of 95 %, over some of the targets."""
    chosen = np.ones(len(targets.user), bool) if where is None else where
    found: dict[str, Any] = {}
    intervals = {}
    for metric in GAINS:
        got = bootstrap_mean(targets.gains(arm, variant, metric)[chosen], targets.user[chosen])
        found[metric] = _short(got.value)
        intervals[metric] = [_short(got.low), _short(got.high)]
    return {**found, "intervals": intervals, "targets": int(chosen.sum())}


def difference(targets: Targets, one: tuple[str, str], other: tuple[str, str]) -> dict[str, Any]:
    """Return paired differences, (arm, variant) less another, with their intervals."""
    found = {}
    for metric in GAINS:
        gap = targets.gains(*one, metric) - targets.gains(*other, metric)
        got = bootstrap_mean(gap, targets.user)
        found[metric] = {"value": _short(got.value), "interval": [_short(got.low), _short(got.high)]}
    return found


def _short(value: float) -> float | None:
    return None if value != value else round(value, 5)


def days(time_ms: Ints) -> Ints:
    """Return the days [T] of the log, as yyyymmdd in the time zone of the log."""
    unique, place = np.unique((time_ms + int(_CHINA.total_seconds() * 1000)) // 86_400_000, return_inverse=True)
    names = [int(datetime.fromtimestamp(int(day) * 86_400, UTC).strftime("%Y%m%d")) for day in unique]
    return np.array(names, np.int64)[place]


def by_group(targets: Targets, groups: Ints, names: Mapping[int, str], label: str) -> list[dict[str, Any]]:
    """Return figures of both arms for each group of the targets, in order."""
    listed = []
    for group in sorted(set(groups.tolist())):
        where = groups == group
        listed.append({label: names[group], **{arm: figures(targets, arm, "whole", where) for arm in ARMS}})
    return listed


def bands(values: Ints) -> tuple[Ints, dict[int, str]]:
    """Return the band [T] of each value, and the bands' names."""
    edges = [low for low, _ in BANDS[1:]]
    names = {
        place: f"{low}-{high - 1}" if high < BANDS[-1][1] else f"{low}+" for place, (low, high) in enumerate(BANDS)
    }
    return np.digitize(values, edges).astype(np.int64), names


def predicted(data: Dataset, by_seed: Sequence[Sequence[Mapping[str, Reals]]]) -> dict[str, dict[str, Any]]:
    """Return AUC and GAUC (by user) of predictions, by name; the mean over seeds."""
    labels = np.concatenate([log.positive for _, log in data.streams]).astype(np.int64)
    users = np.concatenate([log.user for _, log in data.streams])
    found: dict[str, dict[str, Any]] = {}
    for name in by_seed[0][0] if by_seed and by_seed[0] else ():
        scores = [np.concatenate([stream[name] for stream in streams]) for streams in by_seed]
        found[name] = {
            "auc": _short(float(np.mean([auc(one, labels) for one in scores]))),
            "gauc": _short(float(np.mean([grouped_auc(one, labels, users) for one in scores]))),
        }
    return found


def summary(targets: Targets, stream_names: Sequence[str], zone_days: bool = True) -> dict[str, Any]:
    """Return everything that ranks tell."""
    online, frozen = (figures(targets, arm, "whole") for arm in ("online", "frozen"))
    dates = days(targets.time_ms)
    result: dict[str, Any] = {"frozen": frozen, "online": online}
    base = frozen["recall_at_20"]
    result["online_over_frozen"] = round(online["recall_at_20"] / base, 4) if base else None
    result["blend"] = {arm: figures(targets, arm, "blend") for arm in ARMS}
    result["whole_minus_blend"] = {arm: difference(targets, (arm, "whole"), (arm, "blend")) for arm in ARMS}
    result["online_minus_frozen"] = difference(targets, ("online", "whole"), ("frozen", "whole"))
    result["baselines"] = {
        name: {arm: figures(targets, arm, name) for arm in ARMS}
        for name in targets.ranks["online"] if name not in ("whole", "blend")
    }  # fmt: skip
    result["per_stream"] = by_group(targets, targets.stream, dict(enumerate(stream_names)), "stream")
    result["per_day"] = by_group(targets, dates, {day: str(day) for day in set(dates.tolist())}, "day")
    result["per_history"] = by_group(targets, *bands(targets.ages), "events_before")
    result["per_video_exposures"] = by_group(targets, *bands(targets.exposures), "exposures_before")
    return result
