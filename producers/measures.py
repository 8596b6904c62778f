"""The true reward of every arm, as a share of the way from random to the oracle, with intervals over viewers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.catalogue import Floats

ORACLE = "oracle"
RANDOM = "random"
BUCKET_MS = 5_000
_RECENT = 12  # buckets
_CURVE = 720
_FIRST = 10
_AFTER_JUMP = 60
_REPLICATES = 400
_GROUPS = 2_000  # resampled at most; more viewers than that are resampled in groups
_REWARD, _EXPECTED, _COUNT = range(3)
_LEADS = (("online", "frozen"), ("online", "popular"), ("frozen", "popular"))
_KNOWN = ("online", "frozen", "popular", RANDOM, ORACLE)  # online is also compared with every other arm


class Measures:
    """Sums per arm and viewer (or group of viewers): [3, A, V] of realised reward, expected reward and impressions.

    Args:
      arms: the arms that go through Kafka; the oracle is added as the last.
    """

    def __init__(self, arms: Sequence[str], viewers: int, seed: int) -> None:
        self.arms = (*arms, ORACLE)
        self._groups = min(viewers, _GROUPS)
        shape = (3, len(self.arms), self._groups)
        self._total, self._since = np.zeros(shape), np.zeros(shape)
        self._recent = np.zeros((_RECENT, *shape))
        self._bucket = -1
        self._curve: list[tuple[int, Floats]] = []
        self._first = np.zeros((3, len(self.arms), _FIRST))
        self._jump: Floats | None = None
        self._steps = np.zeros((len(self.arms), viewers), np.int64)
        self._versions: dict[tuple[int, int], list[float]] = {}
        self._weights = np.random.default_rng([seed, 3]).multinomial(
            self._groups, np.full(self._groups, 1.0 / self._groups), _REPLICATES
        ).astype(np.float64)  # fmt: skip
        self.since_ms: int | None = None

    def begin(self, now_ms: int) -> None:
        """Count afresh from now on; what came before stays in the totals."""
        self.since_ms = now_ms
        self._since[:] = 0.0

    def jumped(self) -> None:
        """Count the steps of every viewer from the jump of its taste."""
        self._jump = np.zeros((3, len(self.arms), _AFTER_JUMP))
        self._steps[:] = 0

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
        self._turn(now_ms)
        values = np.stack([reward, expected, np.ones(len(viewers))])
        for sums in (self._total, self._since, self._recent[self._bucket % _RECENT]):
            np.add.at(sums[:, arm].T, viewers % self._groups, values.T)
        self._curve[-1][1][:, arm] += values.sum(axis=1)
        by_step = self._first if self._jump is None else self._jump
        steps = self._steps[arm, viewers]
        early = steps < by_step.shape[2]
        np.add.at(by_step[:, arm].T, steps[early], values[:, early].T)
        self._steps[arm, viewers] += 1
        for version, gained in zip(versions, reward.tolist(), strict=False):
            entry = self._versions.setdefault((arm, version), [0, 0.0])
            entry[0] += 1
            entry[1] += gained

    def summary(self) -> dict[str, Any]:
        """Return what was measured, ready for JSON; what cannot be said (yet) is null.

        At the top stands what came since `begin`, or, before it, the whole run.
        """
        whole = compare(self._total, self.arms, self._weights)
        measured = whole if self.since_ms is None else compare(self._since, self.arms, self._weights)
        return measured | {
            "measured_since_ms": self.since_ms,
            "whole_run": whole,
            "last_minute": compare(self._recent.sum(axis=0), self.arms, self._weights),
            "first_ten": self._by_step(self._first),
            "after_jump": None if self._jump is None else self._by_step(self._jump),
            "by_version": self._by_version(),
            "curve": [{"at_ms": at, "reward": _means(sums, self.arms)} for at, sums in self._curve],
        }

    def _turn(self, now_ms: int) -> None:
        bucket = now_ms // BUCKET_MS
        if bucket <= self._bucket:
            return
        for passed in range(max(self._bucket + 1, bucket - _RECENT + 1), bucket + 1):
            self._recent[passed % _RECENT] = 0.0
        self._bucket = bucket
        self._curve.append((bucket * BUCKET_MS, np.zeros((3, len(self.arms)))))
        del self._curve[:-_CURVE]

    def _by_step(self, sums: Floats) -> dict[str, list[float | None]]:
        return {arm: [_mean(*pair) for pair in sums[[_REWARD, _COUNT], index].T] for index, arm in enumerate(self.arms)}

    def _by_version(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for (arm, version), (count, reward) in sorted(self._versions.items()):
            found.setdefault(self.arms[arm], {})[str(version)] = {
                "impressions": int(count),
                "reward": round(reward / count, 4),
            }
        return found


def compare(sums: Floats, arms: Sequence[str], weights: Floats) -> dict[str, Any]:
    """Return mean rewards, shares of the way from random to oracle, and leads, with 95 % intervals.

    Args:
      sums: [3, A, V] of reward, expected reward and count.
      weights: [R, V] bootstrap weights of viewers.
    """
    totals = sums.sum(axis=2)
    found: dict[str, Any] = {
        "measured_impressions": {arm: int(totals[_COUNT, index]) for index, arm in enumerate(arms)},
        "reward": _means(totals, arms),
        "expected_reward": {arm: _mean(totals[_EXPECTED, i], totals[_COUNT, i]) for i, arm in enumerate(arms)},
    }
    shares = _shares(totals[_REWARD] / _whole(totals[_COUNT]), arms)
    expected = _shares(totals[_EXPECTED] / _whole(totals[_COUNT]), arms)
    resampled = (weights @ sums.reshape(-1, sums.shape[2]).T).reshape(len(weights), *sums.shape[:2])
    replicates = _shares(resampled[:, _REWARD] / _whole(resampled[:, _COUNT]), arms)
    found["reward_share"] = {arm: _rounded(shares[..., index]) for index, arm in enumerate(arms)}
    found["expected_share"] = {arm: _rounded(expected[..., index]) for index, arm in enumerate(arms)}
    found["reward_share_interval"] = {arm: _interval(replicates[:, index]) for index, arm in enumerate(arms)}
    found["lead"] = {
        f"{one}-{other}": {
            "share": _rounded(shares[..., arms.index(one)] - shares[..., arms.index(other)]),
            "interval": _interval(replicates[:, arms.index(one)] - replicates[:, arms.index(other)]),
        }
        for one, other in (*_LEADS, *(("online", arm) for arm in arms if arm not in _KNOWN))
        if one in arms and other in arms
    }
    return found


def _shares(means: Floats, arms: Sequence[str]) -> Floats:
    """Return (mean - random) / (oracle - random) of means [..., A]; NaN where random or oracle has nothing."""
    if RANDOM not in arms:
        return np.full(means.shape, np.nan)
    low, high = means[..., [arms.index(RANDOM)]], means[..., [arms.index(ORACLE)]]
    way = np.where(high > low, high - low, np.nan)
    return np.asarray((means - low) / way)


def _whole(count: Floats) -> Floats:
    return np.where(count > 0, count, np.nan)


def _means(totals: Floats, arms: Sequence[str]) -> dict[str, float | None]:
    return {arm: _mean(totals[_REWARD, index], totals[_COUNT, index]) for index, arm in enumerate(arms)}


def _mean(total: float, count: float) -> float | None:
    return round(float(total / count), 4) if count else None


def _rounded(value: Any) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _interval(values: Floats) -> list[float] | None:
    values = values[np.isfinite(values)]
    if len(values) < _REPLICATES // 2:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return [round(float(low), 4), round(float(high), 4)]
