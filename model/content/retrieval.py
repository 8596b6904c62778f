"""How well vectors find what belongs together, and the plain rivals: a colour histogram and the untrained CNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.content.media import Media
from model.content.serving import TowerForward, pictures_of
from model.content.towers import FRAMES, initial_weights
from streams.core.ports import Floats

UNTRAINED_SEED = 1
HALVES = ((0.0, 0.5), (0.5, 1.0))  # of a clip, by time
BINS = 8  # of each colour in the histogram

Embed = Callable[[Media], Floats]


def similarities(vectors: Floats) -> Floats:
    """Return cosines [N, N] of vectors [N, D]; -2 on the diagonal, so that nobody is their own neighbour."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    found = np.asarray(unit @ unit.T, np.float32)
    np.fill_diagonal(found, -2.0)
    return found


@dataclass(frozen=True)
class HalvesResult:
    """Of N clips cut in two, how many find their other half among all 2N - 1 others. A tie is a miss.

    Attributes:
      both: clips of which each half finds the other; what `halves_matched` reports.
      first, second: clips of which the first (second) half finds the other.
      total: N.
      missed: indices of clips that are not in `both`.
    """

    both: int
    first: int
    second: int
    total: int
    missed: tuple[int, ...]


def match_halves(vectors: Floats) -> HalvesResult:
    """Return how halves [2N, D], in the order first, second, first, ..., find each other."""
    cosines = similarities(vectors)
    count = len(vectors)
    partner = np.arange(count) ^ 1
    own = cosines[np.arange(count), partner]
    others = cosines.copy()
    others[np.arange(count), partner] = -2.0
    found = own > others.max(axis=1) + 1e-7
    first, second = found[0::2], found[1::2]
    missed = tuple(np.flatnonzero(~(first & second)).tolist())
    return HalvesResult(int((first & second).sum()), int(first.sum()), int(second.sum()), count // 2, missed)


def precision_at(vectors: Floats, groups: NDArray[Any], count: int) -> float:
    """Return the share of the `count` nearest of each of N vectors [N, D] that are of its group [N]."""
    nearest = np.argsort(-similarities(vectors), axis=1, kind="stable")[:, :count]
    return float((groups[nearest] == groups[:, None]).mean())


def histogram(media: Media) -> Floats:
    """Return the colour histogram [BINS^3] of the frames, black borders cut off.

    Square roots of the shares, so that the cosine is the Bhattacharyya coefficient; that ranked better than shares.
    """
    size = media.frames.shape[1]
    scale = size / max(media.width, media.height, 1)
    high, wide = max(round(media.height * scale), 1), max(round(media.width * scale), 1)
    top, left = (size - high) // 2, (size - wide) // 2
    inside = media.frames[:, top : top + high, left : left + wide].reshape(-1, 3).astype(np.int64) * BINS // 256
    shares = np.bincount(inside @ np.array([BINS * BINS, BINS, 1]), minlength=BINS**3) / max(len(inside), 1)
    return np.sqrt(shares).astype(np.float32)


def untrained() -> Embed:
    """Return the embedding of the frames' tower before any training."""
    forward = TowerForward(FRAMES, initial_weights(FRAMES, UNTRAINED_SEED))
    return lambda media: forward(pictures_of(media.frames))


def compare(media: Sequence[Media], trained: Embed) -> dict[str, Floats]:
    """Return vectors [N, D] of the same media by each way: `trained`, `untrained`, `histogram`."""
    rivals = {"untrained": untrained(), "histogram": histogram}
    small = [_small(one) for one in media]
    return {"trained": np.stack([trained(one) for one in media])} | {
        name: np.stack([embed(one) for one in small]) for name, embed in rivals.items()
    }


def _small(media: Media) -> Media:
    """Return media whose frames have the size that the towers take; a backbone takes larger ones."""
    times, size = media.frames.shape[1] // FRAMES.height, FRAMES.height
    if times <= 1:
        return media
    blocks = media.frames.reshape(-1, size, times, size, times, 3).mean(axis=(2, 4))
    return replace(media, frames=np.rint(blocks).astype(np.uint8))
