"""Scores to slates: threshold, unseen, cap per author, and positions given to exploration with known propensity."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from streams.core.hashing import draws, uniforms
from streams.core.ports import Floats

Bools = NDArray[np.bool_]
TILE = 64  # rows of one matrix product; a fixed shape keeps a row's result independent of the batch around it
_TRIES = 16


@dataclass(frozen=True)
class Policy:
    """How a slate is made of scores.

    Attributes:
      size, minimum: most positions, and how many are filled although below the threshold.
      threshold: a video is recommended when its score exceeds this; in (0, 1).
      author_cap: most videos of one author.
      exploration: probability that a position is given to a video drawn uniformly.
    """

    size: int = 20
    minimum: int = 5
    threshold: float = 0.05
    author_cap: int = 3
    exploration: float = 0.1

    @property
    def logit(self) -> float:
        """The threshold as a logit."""
        p = min(max(self.threshold, 1e-6), 1 - 1e-6)
        return log(p / (1 - p))


@dataclass(frozen=True)
class Ranked:
    """One slate: pool slots [K] in order, their logits [K], and explored positions with their propensity."""

    slots: NDArray[np.int64]
    logits: Floats
    explored: list[tuple[int, float]]


def product(queries: Floats, keys: Floats) -> Floats:
    """Return logits [B, N] of queries [B, D] and keys [N, D], computed in tiles of 64 rows."""
    rows = len(queries)
    out = np.empty((rows, len(keys)), np.float32)
    padded = np.zeros((TILE, queries.shape[1]), np.float32)
    for start in range(0, rows, TILE):
        tile = queries[start : start + TILE]
        if len(tile) < TILE:
            padded[: len(tile)], padded[len(tile) :] = tile, 0.0
            out[start:] = (padded @ keys.T)[: len(tile)]
        else:
            np.matmul(tile, keys.T, out=out[start : start + TILE])
    return out


def rank(
    logits: Floats, allowed: Bools, authors: NDArray[np.int64], policy: Policy, seeds: NDArray[np.uint64]
) -> list[Ranked]:
    """Make one slate per row.

    Args:
      logits: [B, N] scores before the sigmoid, overwritten; a value that is not finite is never recommended.
      allowed: [B, N] fresh and unseen.
      authors: [N] author keys.
      seeds: [B] one per triggering event; the same seed explores the same positions.

    Returns: B slates, best first, ties broken by the lower slot.
    """
    np.copyto(logits, -np.inf, where=~(allowed & np.isfinite(logits)))
    top = _top(logits, authors, policy)
    words = draws(seeds, policy.size * (1 + _TRIES))
    explore = uniforms(words[:, : policy.size]) < policy.exploration
    free = allowed.sum(axis=1)
    return [
        _slate(logits[row], slots, allowed[row], explore[row], words[row, policy.size :], int(free[row]), policy)
        for row, slots in enumerate(top)
    ]


def _top(logits: Floats, authors: NDArray[np.int64], policy: Policy) -> list[NDArray[np.int64]]:
    """Return per row the best slots that the author cap admits, at most K, best first."""
    rows, count = logits.shape
    if not count:
        return [np.zeros(0, np.int64)] * rows
    width = min(count, 3 * policy.size + 16)
    if width < count:
        part = np.argpartition(logits, count - width, axis=1)[:, count - width :]
    else:
        part = np.broadcast_to(np.arange(count), (rows, count))
    part = np.sort(part, axis=1)
    values = np.take_along_axis(logits, part, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    part, values = np.take_along_axis(part, order, axis=1), np.take_along_axis(values, order, axis=1)
    by = authors[part]
    earlier = np.tril(np.ones((width, width), bool), -1)
    same = ((by[:, :, None] == by[:, None, :]) & earlier).sum(axis=2) if policy.author_cap < policy.size else 0 * part
    place = np.cumsum(same < policy.author_cap, axis=1)
    good = (same < policy.author_cap) & (values > -np.inf) & (place <= policy.size)
    good &= (values > policy.logit) | (place <= policy.minimum)
    return [part[row, good[row]] for row in range(rows)]


def _slate(
    logits: Floats,
    best: NDArray[np.int64],
    allowed: Bools,
    explore: Bools,
    words: NDArray[np.uint64],
    free: int,
    policy: Policy,
) -> Ranked:
    chosen = best.tolist()
    length = min(policy.size, max(len(chosen), min(policy.minimum, free)))
    explored: list[tuple[int, float]] = []
    taken = set(chosen)
    for position in np.flatnonzero(explore[:length]).tolist():
        drawn = _draw(allowed, taken, words[position * _TRIES : (position + 1) * _TRIES])
        if drawn is not None:
            taken.add(drawn)
            chosen.insert(position, drawn)
            explored.append((position, policy.exploration / max(free - len(best), 1)))
    slots = np.array(chosen[: policy.size], np.int64)
    return Ranked(slots, logits[slots], explored)


def _draw(allowed: Bools, taken: set[int], words: NDArray[np.uint64]) -> int | None:
    """Return a slot drawn uniformly from those allowed and not taken; None when a few tries found none."""
    for slot in (words % np.uint64(len(allowed))).tolist():
        if allowed[slot] and slot not in taken:
            return int(slot)
    return None
