"""Positions given to drawn videos: which, and what was drawn, for a whole batch; uniformly, or by score.

Every draw is a pure function of the row's seed and the position, and by score of the row's logits, so neither the batch
nor its order matters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streams.core.hashing import draws, draws_at, uniforms
from streams.core.logits import Logits
from streams.core.ports import Floats
from streams.core.positions import TRIES
from streams.core.tiles import TILE

Allowed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]  # rows [M], slots [M]
Usable = Callable[[NDArray[np.int64]], NDArray[np.bool_]]  # rows [R] to [R, N]
_FIRST = 3  # of them made for every position; the rest only where these failed
_AT_ONCE = 1 << 22  # chances that are held at once


def explore(
    best: NDArray[np.int64],
    length: NDArray[np.int64],
    count: int,
    allowed: Allowed,
    share: float,
    seeds: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Return drawn slots [B, K], -1 where the position is not explored.

    Args:
      best: [B, K] slots that the scores chose, -1 beyond; never drawn.
      length: [B] positions that may be explored.
      count: N, videos.
      allowed: tells which slots of which rows may be drawn.
      share: probability that a position is explored.
      seeds: [B].
    """
    rows, size = best.shape
    drawn = np.full((rows, size), -1, np.int64)
    if not count or not share or not rows:
        return drawn
    flags = (uniforms(draws(seeds, size)) < share) & (np.arange(size) < length[:, None])
    row, position = np.nonzero(flags)
    _fill(drawn, [best], row, position, count, allowed, seeds)
    again = np.flatnonzero(_repeats(drawn))
    if len(again):  # a row drew a video twice: its positions are filled one after the other
        drawn[again] = -1
        nth = np.cumsum(flags, axis=1)[row, position]
        mine = np.isin(row, again)
        for turn in range(1, int(nth[mine].max()) + 1):
            now = mine & (nth == turn)
            _fill(drawn, [best, drawn], row[now], position[now], count, allowed, seeds)
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
    allowed: Allowed,
    seeds: NDArray[np.uint64],
) -> None:
    """Draw for pairs of row and position; what stands in the row of one of `taken` is not drawn."""
    for first, stop in ((0, _FIRST), (_FIRST, TRIES)):
        if len(row):
            found = _draw(taken, row, position, first, stop, count, allowed, seeds)
            drawn[row, position] = found
            row, position = row[found < 0], position[found < 0]


def _draw(
    taken: list[NDArray[np.int64]],
    row: NDArray[np.int64],
    position: NDArray[np.int64],
    first: int,
    stop: int,
    count: int,
    allowed: Allowed,
    seeds: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Return per pair of row and position the first of tries [first, stop) that is allowed and not taken, or -1."""
    size = taken[0].shape[1]
    index = (size + 1 + position * TRIES)[:, None] + np.arange(first, stop)
    words = draws_at(seeds[row][:, None], index.astype(np.uint64))
    slots = (words % np.uint64(count)).astype(np.int64)
    usable = allowed(np.repeat(row, slots.shape[1]), slots.ravel()).reshape(slots.shape)
    for one in taken:
        usable &= ~(slots[:, :, None] == one[row][:, None, :]).any(axis=2)
    at = usable.argmax(axis=1)
    pick = np.arange(len(row))
    return np.where(usable[pick, at], slots[pick, at], -1)


def explore_by_score(
    source: Logits,
    length: NDArray[np.int64],
    size: int,
    usable: Usable,
    share: float,
    temperature: float,
    seeds: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], Floats]:
    """Return drawn slots [B, K], at most one of a row and -1 elsewhere, and float32 [B] with which chance it was drawn.

    Each position is explored with probability `share`, one of a row at most; what it gets is drawn of everything that
    is allowed, the best included, in proportion to exp(logit / temperature). The chance, of position and video
    together, is 0 where a row explores nothing.

    Args:
      length: [B] positions that may be explored; size: K.
      usable: tells of at most 64 rows which videos [R, N] may be drawn.
      share: at most 1 / K; a row that has fewer positions keeps it.
      seeds: [B].
    """
    drawn, chance = np.full((len(length), size), -1, np.int64), np.zeros(len(length), np.float32)
    each = np.minimum(share, 1.0 / np.maximum(length, 1))
    uniform = uniforms(draws(seeds, 2))
    exploring = np.flatnonzero(uniform[:, 0] < each * length)
    for start in range(0, len(exploring), TILE):
        rows = exploring[start : start + TILE]
        slots, among = _by_score(source.tile(rows), usable(rows), temperature, uniform[rows, 1])
        position = np.minimum((uniform[rows, 0] / each[rows]).astype(np.int64), length[rows] - 1)
        drawn[rows, position] = slots
        chance[rows] = each[rows] * among
    return drawn, chance


def _by_score(
    logits: Floats, usable: NDArray[np.bool_], temperature: float, uniform: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a slot drawn for each row of logits [R, N], -1 where none is usable, and the chance [R] of each."""
    slots, chance = np.full(len(logits), -1, np.int64), np.zeros(len(logits))
    step = max(1, _AT_ONCE // max(logits.shape[1], 1))
    for start in range(0, len(logits), step):
        some = slice(start, start + step)
        values = np.where(usable[some] & (np.abs(logits[some]) < np.inf), logits[some], -np.inf).astype(np.float64)
        highest = values.max(axis=1, initial=-np.inf, keepdims=True)
        weights = np.exp((values - np.where(highest > -np.inf, highest, 0.0)) / temperature)
        below = np.cumsum(weights, axis=1)
        found = np.flatnonzero(highest[:, 0] > -np.inf)
        total = below[found, -1]
        wanted = np.minimum(uniform[some][found] * total, np.nextafter(total, 0.0))  # below it also when rounded
        chosen = (below[found] > wanted[:, None]).argmax(axis=1)
        slots[start + found], chance[start + found] = chosen, weights[found, chosen] / total
    return slots, chance
