"""Viewers: tastes that turn slowly, how often each comes, and how long it stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from producers.catalogue import Floats, unit
from producers.parameters import ViewerParameters

HOUR_S = 3600.0


class Viewers:
    """V viewers with tastes in the latent space.

    A taste turns in a plane of its own, so that it is a pure function of time; a jump is a quarter turn at once, after
    which nothing is left of the old taste.

    Args:
      topics: [T, D] directions from which tastes start.
      jump_at_s: when every viewer's taste jumps; None: never.
    """

    def __init__(
        self, parameters: ViewerParameters, count: int, topics: Floats, seed: int, jump_at_s: float | None = None
    ) -> None:
        rng = np.random.default_rng([seed, 2])
        self.count = count
        self.jump_at_s = jump_at_s
        self._quarters = 0  # of earlier jumps
        self._from = _tastes(rng, parameters, count, topics)
        towards = _tastes(rng, parameters, count, topics)
        along = (towards * self._from).sum(axis=1, keepdims=True)
        self._to = unit(towards - along * self._from)
        self._speed = parameters.drift_rad_per_hour / HOUR_S * rng.uniform(0.5, 1.5, count)
        self.activity = np.exp(parameters.activity_sigma * rng.normal(size=count))
        self._cumulative = np.cumsum(self.activity) / self.activity.sum()

    def tastes(self, viewers: NDArray[np.int64], at_s: float) -> Floats:
        """Return the tastes [B, D] of viewers [B], `at_s` seconds after the start."""
        angle = self._speed[viewers] * at_s + self._quarters * np.pi / 2
        if self.jump_at_s is not None and at_s >= self.jump_at_s:
            angle = angle + np.pi / 2
        return np.asarray(np.cos(angle)[:, None] * self._from[viewers] + np.sin(angle)[:, None] * self._to[viewers])

    def jump(self, at_s: float) -> None:
        """Let every taste jump (again) at `at_s`, which must be later than an earlier jump."""
        self._quarters += self.jump_at_s is not None and self.jump_at_s <= at_s
        self.jump_at_s = at_s

    def who(self, u: float) -> int:
        """Return the viewer that a uniform in [0, 1) points at, the active ones more often."""
        return min(int(np.searchsorted(self._cumulative, u, side="right")), self.count - 1)


def _tastes(rng: np.random.Generator, parameters: ViewerParameters, count: int, topics: Floats) -> Floats:
    """Return tastes [V, D] of length 1: a few topics with unequal weights, and something of their own."""
    low, high = parameters.interests
    wanted = rng.integers(low, high + 1, count)
    weights = rng.exponential(size=(count, high)) * (np.arange(high) < wanted[:, None])
    demand = (1.0 + np.arange(len(topics))) ** -parameters.zipf
    drawn = rng.choice(len(topics), (count, high), p=demand / demand.sum())
    mixed = np.einsum("vi,vid->vd", weights, topics[drawn])
    own = unit(rng.normal(size=mixed.shape))
    return unit(unit(mixed) + parameters.own_weight * own)
