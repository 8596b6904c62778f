"""Positions given to videos drawn uniformly: which, and what was drawn, for a whole batch.

Every draw is a pure function of the row's seed and the position, so neither the batch nor its order matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.hashing import draws, draws_at, uniforms

TRIES = 16  # draws for one position; when all fall on what is taken or not allowed, the position is not explored
_FIRST = 3  # of them made for every position; the rest only where these failed


def explore(
    best: NDArray[np.int64],
    length: NDArray[np.int64],
    count: int,
    bits: NDArray[np.uint8],
    share: float,
    seeds: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Return drawn slots [B, K], -1 where the position is not explored.

    Args:
      best: [B, K] slots that the scores chose, -1 beyond; never drawn.
      length: [B] positions that may be explored.
      count: N, videos.
      bits: [B, N/8] allowed.
      share: probability that a position is explored.
      seeds: [B].
    """
    rows, size = best.shape
    drawn = np.full((rows, size), -1, np.int64)
    if not count or not share or not rows:
        return drawn
    flags = (uniforms(draws(seeds, size)) < share) & (np.arange(size) < length[:, None])
    row, position = np.nonzero(flags)
    nth = np.cumsum(flags, axis=1)[row, position]
    for turn in range(1, int(nth.max(initial=0)) + 1):  # the n-th explored position of every row at once
        now = np.flatnonzero(nth == turn)
        for first, stop in ((0, _FIRST), (_FIRST, TRIES)):
            if len(now):
                found = _draw(best, drawn, row[now], position[now], first, stop, count, bits, seeds)
                drawn[row[now], position[now]] = found
                now = now[found < 0]
    return drawn


def _draw(
    best: NDArray[np.int64],
    drawn: NDArray[np.int64],
    row: NDArray[np.int64],
    position: NDArray[np.int64],
    first: int,
    stop: int,
    count: int,
    bits: NDArray[np.uint8],
    seeds: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Return per pair of row and position the first of tries [first, stop) that is allowed and not taken, or -1."""
    size = best.shape[1]
    index = (size + 1 + position * TRIES)[:, None] + np.arange(first, stop)
    words = draws_at(seeds[row][:, None], index.astype(np.uint64))
    slots = (words % np.uint64(count)).astype(np.int64)
    allowed = (bits[row[:, None], slots >> 3] >> (slots & 7).astype(np.uint8)) & 1
    taken = (slots[:, :, None] == best[row][:, None, :]).any(axis=2)
    taken |= (slots[:, :, None] == drawn[row][:, None, :]).any(axis=2)
    usable = allowed.astype(bool) & ~taken
    at = usable.argmax(axis=1)
    pick = np.arange(len(row))
    return np.where(usable[pick, at], slots[pick, at], -1)
