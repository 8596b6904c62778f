"""Decayed rates of positive outcomes by key."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np


class Rates:
    """Positives and exposures by key, with decay. Keys of any kind share one table: begin each with a name."""

    def __init__(self, prior: float) -> None:
        self.prior = prior
        self._counts: dict[Hashable, tuple[float, float, float]] = {}
        self._before: dict[Hashable, tuple[float, float, float]] = {}  # shared with forks, and written by none

    def fork(self) -> Rates:
        """Return rates that are the same now and go on apart."""
        if self._counts:
            self._before, self._counts = self._before | self._counts, {}
        other = Rates(self.prior)
        other._before = self._before
        return other

    def logit(self, key: Hashable, at_ms: float, half_life_ms: float, strength: float) -> float:
        """Return the logit of a rate that `strength` exposures at the prior are mixed into."""
        positive, total = self.counts(key, at_ms, half_life_ms)
        rate = (positive + strength * self.prior) / (total + strength)
        return float(np.log(rate / (1.0 - rate)))

    def counts(self, key: Hashable, at_ms: float, half_life_ms: float) -> tuple[float, float]:
        """Return (positives, exposures) as they are worth now."""
        found = self._counts.get(key) or self._before.get(key)
        if found is None:
            return 0.0, 0.0
        shrink = 2.0 ** (-(at_ms - found[2]) / half_life_ms)
        return found[0] * shrink, found[1] * shrink

    def add(self, key: Hashable, at_ms: float, half_life_ms: float, positive: float) -> None:
        """Count an exposure."""
        before = self.counts(key, at_ms, half_life_ms)
        self._counts[key] = (before[0] + positive, before[1] + 1.0, at_ms)
