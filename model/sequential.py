"""Mean rewards of two groups of users compared, in a way that may be looked at as often as one likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

LEVEL = 0.05
SCALE = 0.02  # of the differences in mean label that are looked for; it tunes the test, and any value keeps it valid


class Tally:
    """Labels of a group by user; a label may be corrected later."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, user: str, label: float, count: int = 1) -> None:
        """Add a label, or with a count of 0 what a correction changes."""
        held = self._sums.setdefault(user, [0.0, 0.0])
        held[0] += label
        held[1] += count

    def drop(self, is_gone: Callable[[str], bool]) -> None:
        """Forget users."""
        for user in [user for user in self._sums if is_gone(user)]:
            del self._sums[user]

    def mean(self) -> Mean:
        """Return the mean label; the variance is that of a ratio, by users, whose labels hang together."""
        if not self._sums:
            return Mean()
        sums, counts = np.array(list(self._sums.values())).T
        users, total = len(sums), float(counts.sum())
        value = float(sums.sum()) / total
        spread = float(((sums - value * counts) ** 2).sum()) * users / max(users - 1, 1)
        return Mean(value, spread / total**2 if users > 1 else float("inf"), round(total), users)


@dataclass(frozen=True)
class Mean:
    """A mean label with the variance of its estimate."""

    value: float = float("nan")
    variance: float = float("inf")
    labels: int = 0
    users: int = 0


@dataclass(frozen=True)
class Gap:
    """A difference with an interval that covers the truth at all looks together with probability 1 - LEVEL."""

    value: float
    low: float
    high: float
    settled: bool = field(init=False)  # 0 is outside

    def __post_init__(self) -> None:
        object.__setattr__(self, "settled", self.low > 0.0 or self.high < 0.0)


def gap(one: Mean, other: Mean) -> Gap:
    """Return the difference of two independent means, always valid.

    Source: Johari, Pekelis and Walsh 2015, "Always valid inference", the mixture sequential probability ratio test.
    """
    variance = one.variance + other.variance
    value = one.value - other.value
    if not np.isfinite(variance) or variance <= 0.0:
        return Gap(value, float("-inf"), float("inf"))
    mixed = variance + SCALE**2
    radius = np.sqrt((2.0 * np.log(1.0 / LEVEL) + np.log(mixed / variance)) * variance * mixed / SCALE**2)
    return Gap(value, value - float(radius), value + float(radius))
