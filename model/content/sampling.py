"""Which moments of a clip are looked at: pure arithmetic on times and small pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 24  # pictures that a long clip is reduced to before the choice
BUDGET_PIXELS = 160_000_000  # decoded per clip at most, about: 520 pictures of 640x480, 77 of 1920x1080
LEAST_PIXELS = 640 * 480  # a smaller picture counts as one of these, so no clip costs more than 520 pictures
TIME_SHARE = 0.5  # of the distance between two pictures is time, the rest is how much changed


@dataclass(frozen=True)
class Plan:
    """How a clip is read.

    Attributes:
      targets_s: moments to seek; empty means reading from the start to the end.
      forward: pictures decoded for each target, from the key frame before it on.
      keys_only: only key frames are decoded.
    """

    targets_s: tuple[float, ...] = ()
    forward: int = 0
    keys_only: bool = False


def plan(duration_s: float, rate: float, pixels: int, window: tuple[float, float]) -> Plan:
    """Return how to read a clip so that the work has a bound that does not depend on its length.

    Args:
      duration_s, rate: length and pictures per second; 0 where not known (it is then read until the budget ends).
      pixels: of one picture.
      window: shares of the length that are looked at.
    """
    affordable = affordable_pictures(pixels)
    if not duration_s or duration_s * max(rate, 1.0) <= affordable:
        return Plan()
    count = min(affordable, CANDIDATES)
    start, end = window[0] * duration_s, window[1] * duration_s
    targets = start + (np.arange(count) + 0.5) / count * (end - start)
    forward = affordable // count
    return Plan(tuple(targets.tolist()), forward, keys_only=forward < 2)


def affordable_pictures(pixels: int) -> int:
    """Return how many pictures of so many pixels are decoded at most; at least 4."""
    return max(BUDGET_PIXELS // max(pixels, LEAST_PIXELS), 4)


class Thinned:
    """Keeps between half of `most` and `most` of a stream of unknown length, evenly spaced."""

    def __init__(self, most: int = 4 * CANDIDATES) -> None:
        self._most = most
        self._stride = 1
        self._seen = 0
        self.kept: list[tuple[float, NDArray[np.uint8]]] = []

    def wants(self) -> bool:
        """Return whether the next picture is to be kept; counts it."""
        self._seen += 1
        return (self._seen - 1) % self._stride == 0

    def keep(self, time_s: float, picture: NDArray[np.uint8]) -> None:
        """Keep a wanted picture; every second one is dropped when there are too many."""
        self.kept.append((time_s, picture))
        if len(self.kept) > self._most:
            self.kept = self.kept[::2]
            self._stride *= 2


def choose(times_s: NDArray[np.float64], pictures: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Return which of N pictures to look at, ascending: `count` of them, or all where there are no more.

    They are equally far apart on a path whose length is part time and part change of the picture, so a still stretch
    and a busy one both get their share, a cut has a picture on either side, and a still clip is sampled by time.

    Args:
      times_s: [N], ascending.
      pictures: [N, S, S, 3].
    """
    total = len(times_s)
    if total <= count:
        return np.arange(total)
    small = pictures[:, ::4, ::4].astype(np.float32)
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    change = np.minimum(change, 4.0 * np.median(change) + 1.0)  # one cut does not take the whole path
    passed = np.maximum(np.diff(times_s), 1e-6)
    steps = TIME_SHARE * passed / passed.sum() + (1.0 - TIME_SHARE) * change / max(change.sum(), 1e-6)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    nearest = np.abs(path[None, :] - np.linspace(0.0, path[-1], count)[:, None]).argmin(axis=1)
    chosen = np.unique(nearest)
    if len(chosen) < count:  # two moments on the path met in one picture: fill with the others, in order of time
        rest = np.setdiff1d(np.arange(total), chosen)
        fill = rest[np.linspace(0, len(rest) - 1, count - len(chosen)).round().astype(int)]
        chosen = np.sort(np.concatenate([chosen, fill]))
    return chosen.astype(np.int64)


def patch_starts(samples: int, size: int, most: int) -> NDArray[np.int64]:
    """Return where excerpts of `size` samples begin so that up to `most` of them spread over `samples`."""
    count = min(most, max(1, -(-samples // size)))
    return np.linspace(0, max(samples - size, 0), count).round().astype(np.int64)
