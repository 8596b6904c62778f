"""Standardising the numeric features of videos: statistics learned online, which every version carries.

A number goes into the model less its mean, over its deviation, as they were among the videos published before the
version was trained: never from the future, and every reader of a version uses that version's. When the statistics move,
the weights behind them move so that the model says the same as before; what differs is how learning goes on from there.

Axes: N videos, C numbers of `model.features.numbers`, M of them measured; the others are 0 or 1 and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.ports import Floats

MEASURED = ("log_duration",)  # log1p of seconds, over 5; the first columns of the numbers
STANDARD = "standard.numbers"  # in the weights, float32 [3, M]: count, mean, deviation
LEAST = 32  # videos before anything is said of them
MEMORY = 100_000  # videos: a newer one counts at least for 1 in so many, so that a change of supply is followed
SMALLEST = 0.02  # deviation: where all videos are nearly alike, the least difference is not made large
FURTHEST = 5.0  # deviations from the mean at most: one absurd duration does not outweigh everything else


@dataclass
class Moments:
    """Count, mean [M] and sum of squared differences [M] of what was published, in the order in which it was read.

    Source: the update by batches of Chan, Golub and LeVeque 1983.
    """

    count: float
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @staticmethod
    def empty() -> Moments:
        """Return those of no videos."""
        return Moments(0.0, np.zeros(len(MEASURED)), np.zeros(len(MEASURED)))

    def add(self, numbers: Floats) -> None:
        """Take in the numbers [N, C] of newly published videos."""
        found = numbers[:, : len(MEASURED)].astype(np.float64)
        if not len(found):
            return
        if self.count > MEMORY:
            self.squares *= MEMORY / self.count
            self.count = float(MEMORY)
        mean, total = found.mean(axis=0), self.count + len(found)
        gap = mean - self.mean
        self.squares += ((found - mean) ** 2).sum(axis=0) + gap**2 * self.count * len(found) / total
        self.mean += gap * len(found) / total
        self.count = total

    def array(self) -> Floats | None:
        """Return count, mean and deviation [3, M], None while there are too few videos."""
        if self.count < LEAST:
            return None
        deviation = np.maximum(np.sqrt(self.squares / self.count), SMALLEST)
        return np.stack([np.full(len(MEASURED), self.count), self.mean, deviation]).astype(np.float32)


def standardised(numbers: Floats, standard: Floats | None) -> Floats:
    """Return numbers [N, C] of which the measured ones are standardised; as they are where there are no statistics."""
    if standard is None:
        return numbers
    out, size = numbers.copy(), len(MEASURED)
    out[:, :size] = np.clip((numbers[:, :size] - standard[1]) / standard[2], -FURTHEST, FURTHEST)
    return out


def standard_of(weights: Mapping[str, NDArray[Any]]) -> Floats | None:
    """Return the statistics that weights carry; None where they have none."""
    return weights.get(STANDARD)


def moved(kernel: Floats, bias: Floats, old: Floats | None, new: Floats | None) -> tuple[Floats, Floats]:
    """Return the rows [M, E] of the measured numbers and the bias [E] that say with `new` what they said with `old`.

    Without statistics (None) a number is taken as it is. Only what `FURTHEST` bounds is told otherwise than before.
    """
    (mean, deviation), (new_mean, new_deviation) = _scale(old), _scale(new)
    rows = kernel * (new_deviation / deviation)[:, None]
    shift = ((new_mean - mean) / deviation) @ kernel
    return rows.astype(np.float32), (bias + shift).astype(np.float32)


def _scale(standard: Floats | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean [M] and deviation [M]."""
    return (np.zeros(len(MEASURED)), np.ones(len(MEASURED))) if standard is None else (standard[1], standard[2])
