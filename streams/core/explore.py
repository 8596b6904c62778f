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
    _fill(drawn, [best], row, position, count, bits, seeds)
    again = np.flatnonzero(_repeats(drawn))
    if len(again):  # a row drew a video twice: its positions are filled one after the other
        drawn[again] = -1
        nth = np.cumsum(flags, axis=1)[row, position]
        mine = np.isin(row, again)
        for turn in range(1, int(nth[mine].max()) + 1):
            now = mine & (nth == turn)
            _fill(drawn, [best, drawn], row[now], position[now], count, bits, seeds)
    return drawn


def _repeats(drawn: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows of slots [B, K] hold one twice; -1 does not count."""
    ordered = np.sort(np.where(drawn < 0, -1 - np.arange(drawn.shape[1]), drawn), axis=1)
    found: NDArray[np.bool_] = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    return found


def _fill(
    drawn: NDArray[np.int64],
    taken: list[NDArray[np.int64]],
    row: NDArray[np.int64],
    position: NDArray[np.int64],
    count: int,
    bits: NDArray[np.uint8],
    seeds: NDArray[np.uint64],
) -> None:
    """Draw for pairs of row and position; what stands in the row of one of `taken` is not drawn."""
    for first, stop in ((0, _FIRST), (_FIRST, TRIES)):
        if len(row):
            found = _draw(taken, row, position, first, stop, count, bits, seeds)
            drawn[row, position] = found
            row, position = row[found < 0], position[found < 0]


def _draw(
    taken: list[NDArray[np.int64]],
    row: NDArray[np.int64],
    position: NDArray[np.int64],
    first: int,
    stop: int,
    count: int,
    bits: NDArray[np.uint8],
    seeds: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Return per pair of row and position the first of tries [first, stop) that is allowed and not taken, or -1."""
    size = taken[0].shape[1]
    index = (size + 1 + position * TRIES)[:, None] + np.arange(first, stop)
    words = draws_at(seeds[row][:, None], index.astype(np.uint64))
    slots = (words % np.uint64(count)).astype(np.int64)
    allowed = (bits[row[:, None], slots >> 3] >> (slots & 7).astype(np.uint8)) & 1
    usable = allowed.astype(bool)
    for one in taken:
        usable &= ~(slots[:, :, None] == one[row][:, None, :]).any(axis=2)
    at = usable.argmax(axis=1)
    pick = np.arange(len(row))
    return np.where(usable[pick, at], slots[pick, at], -1)
