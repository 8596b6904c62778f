"""Scores to slates: threshold, unseen, cap per author, and positions given to exploration with known propensity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from streams.core.best import take_best
from streams.core.equals import nth_of_equals
from streams.core.explore import explore_by_score
from streams.core.logits import Given, Logits
from streams.core.ports import Floats
from streams.core.positions import draw, put_together
from streams.core.quotas import Quotas, searched_by_kind, with_least, with_room, within
from streams.core.tiles import TILE

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Policy:
    """How a slate is made of scores.

    Attributes:
      size, minimum: most positions, and how many are filled although below the threshold.
      threshold: a video is recommended when its score exceeds this; in (0, 1).
      author_cap: most videos of one author.
      exploration: probability that a position is given to a drawn video.
      temperature: what is drawn is drawn in proportion to exp(logit / temperature), for one position of a slate at
        most; 0 for uniformly.
      quotas: least and most positions by kind; None for no limits.
    """

    size: int = 20
    minimum: int = 5
    threshold: float = 0.05
    author_cap: int = 3
    exploration: float = 0.1
    quotas: Quotas | None = None
    temperature: float = 0.0

    @property
    def logit(self) -> float:
        """The threshold as a logit."""
        p = min(max(self.threshold, 1e-6), 1 - 1e-6)
        return log(p / (1 - p))

    def chance(self, others: Ints) -> Floats:
        """Return the propensity [B] of each explored position, drawn uniformly of so many videos [B]."""
        return (self.exploration / np.maximum(others, 1)).astype(np.float32)


@dataclass(frozen=True)
class Row:
    """One slate: pool slots [K] in order, their logits [K], and explored positions with their propensity."""

    slots: Ints
    logits: Floats
    explored: list[tuple[int, float]]


@dataclass(frozen=True)
class Ranked:
    """Slates of a batch; beyond `count` a row holds nothing.

    Attributes:
      slots: int64 [B, K], -1 beyond.
      logits: float32 [B, K].
      count: int64 [B].
      explored: bool [B, K].
      chance: float32 [B]; the propensity of every explored position of the row.
    """

    slots: Ints
    logits: Floats
    count: Ints
    explored: Bools
    chance: Floats

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, row: int) -> Row:
        count = int(self.count[row])
        positions = np.flatnonzero(self.explored[row]).tolist()
        chance = float(self.chance[row])
        return Row(self.slots[row, :count], self.logits[row, :count], [(position, chance) for position in positions])

    def __iter__(self) -> Iterator[Row]:
        return (self[row] for row in range(len(self)))


def joined_slates(parts: Sequence[Ranked]) -> Ranked:
    """Return the slates of parts, one below the other."""
    if len(parts) == 1:
        return parts[0]
    return Ranked(
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.explored for part in parts]),
        np.concatenate([part.chance for part in parts]),
    )


def rank(
    logits: Floats,
    allowed: Bools,
    authors: Ints,
    policy: Policy,
    seeds: NDArray[np.uint64],
    kinds: Ints | None = None,
) -> Ranked:
    """Make one slate per row.

    Args:
      logits: [B, N] scores before the sigmoid; a value that is not finite is never recommended.
      allowed: [B, N] fresh and unseen.
      authors: [N] author keys.
      seeds: [B] one per triggering event; the same seed explores the same positions.
      kinds: [N] places of kinds, for the policy's quotas.

    Returns: B slates, best first, ties broken by the lower slot.
    """
    bits = np.packbits(allowed, axis=1, bitorder="little")
    minimum = np.full(len(bits), policy.minimum)
    return rank_tiles(Given(logits), logits.shape[1], bits, authors, policy, minimum, seeds, kinds)


def rank_tiles(
    logits: Logits,
    count: int,
    bits: NDArray[np.uint8],
    authors: Ints,
    policy: Policy,
    minimum: Ints,
    seeds: NDArray[np.uint64],
    kinds: Ints | None = None,
) -> Ranked:
    """Make slates from logits that are computed 64 rows at a time and not kept.

    Args:
      count: N, videos.
      bits: [B, N/8] allowed, little bit first.
      minimum: [B] of each row, in place of the policy's.

    Raises: ValueError: an array is too short.
    """
    _check(count, bits, authors, minimum, seeds, kinds)
    kinds = kinds if count else None  # no kind is short of anything in an empty pool
    bits = np.ascontiguousarray(bits)
    best, values, filled = _bests(logits, count, bits, authors, policy, minimum, kinds)
    free = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)

    def allowed(rows: Ints, slots: Ints) -> Bools:
        return is_set(bits, rows, slots)

    def usable(rows: Ints) -> Bools:
        return np.unpackbits(bits[rows], axis=1, count=count, bitorder="little").view(bool)

    if policy.quotas is not None and kinds is not None and len(best):
        some = np.unpackbits(np.bitwise_or.reduce(bits, axis=0), count=count, bitorder="little").view(bool)
        search = searched_by_kind(logits, kinds, some, allowed)
        best, values = with_least(best, values, authors, kinds, policy.author_cap, policy.quotas, search)
        filled = (best >= 0).sum(axis=1)
    length = np.minimum(policy.size, np.maximum(filled, np.minimum(minimum, free)))
    share = policy.exploration if count else 0.0
    if policy.temperature:
        drawn, chance = explore_by_score(logits, length, policy.size, usable, share, policy.temperature, seeds)
        best, values, filled = _without(best, values, filled, drawn.max(axis=1, initial=-1))
    else:
        drawn, chance = draw(best, length, count, bits, share, seeds), policy.chance(free - filled)
    return with_drawn(best, values, filled, drawn, chance, logits, policy, kinds)


def _check(
    count: int, bits: NDArray[np.uint8], authors: Ints, minimum: Ints, seeds: NDArray[np.uint64], kinds: Ints | None
) -> None:
    """Raise ValueError where compiled code, which does not check its bounds, would read beyond an array's end."""
    videos = min(8 * bits.shape[1], len(authors), count if kinds is None else len(kinds))
    if videos < count or min(len(minimum), len(seeds)) < len(bits):
        raise ValueError(
            f"{len(bits)} slates of {count} videos want more than bits {bits.shape}, {len(authors)} authors, "
            f"{len(minimum)} minimums, {len(seeds)} seeds and kinds {None if kinds is None else kinds.shape}"
        )


def _bests(
    logits: Logits,
    count: int,
    bits: NDArray[np.uint8],
    authors: Ints,
    policy: Policy,
    minimum: Ints,
    kinds: Ints | None,
) -> tuple[Ints, Floats, Ints]:
    """Return slots [B, K], logits [B, K] and how many of each row are filled."""
    rows = len(bits)
    best = np.full((rows, policy.size), -1, np.int64)
    values = np.full((rows, policy.size), -np.inf, np.float32)
    filled = np.zeros(rows, np.int64)
    of_kind, most = _NONE, _NONE
    if policy.quotas is not None and kinds is not None:
        of_kind, most = kinds, np.array(policy.quotas.most)
    authors, of_kind, minimum = (np.ascontiguousarray(one, np.int64) for one in (authors, of_kind, minimum))
    every = np.arange(rows)
    for start in range(0, rows if count else 0, TILE):
        some = slice(start, start + TILE)
        tile = np.ascontiguousarray(logits.tile(every[some]))
        take_best(
            tile, bits[some], authors, policy.author_cap, of_kind, most, np.float32(policy.logit), minimum[some],
            best[some], values[some], filled[some],
        )  # fmt: skip
    return best, values, filled


def is_set(bits: NDArray[np.uint8], rows: Ints, places: Ints) -> Bools:
    """Return the bits [M] of rows [M] at places [M], little bit first."""
    found: Bools = ((bits[rows, places >> 3] >> (places & 7).astype(np.uint8)) & 1).astype(bool)
    return found


def admitted(slots: Ints, authors: Ints, policy: Policy, kinds: Ints | None = None) -> Bools:
    """Return which of slots [B, C], best first, the author cap lets through, and the most positions of each kind."""
    valid = slots >= 0
    cap, width = policy.author_cap, slots.shape[1]
    if policy.quotas is not None and kinds is not None:
        by_kind = np.where(valid, kinds[slots], -1)
        return within(authors[slots], by_kind, valid, policy.size, cap, policy.quotas)
    if cap >= policy.size or width <= cap:
        return valid
    by = np.where(valid, authors[slots], -1 - np.arange(width))
    ordered = np.sort(by, axis=1)
    crowded = np.flatnonzero((ordered[:, cap:] == ordered[:, :-cap]).any(axis=1))
    if len(crowded):
        valid[crowded] &= nth_of_equals(by[crowded]) < cap
    return valid


def compact(slots: Ints, values: Floats, good: Bools, policy: Policy, minimum: Ints) -> tuple[Ints, Floats, Ints]:
    """Return the first K admitted slots of each row that exceed the threshold or fill the minimum."""
    rows = len(slots)
    place = np.cumsum(good, axis=1)
    good = good & (place <= policy.size) & ((values > policy.logit) | (place <= minimum[:, None]))
    row, column = np.nonzero(good)
    filled = np.bincount(row, minlength=rows)
    at = place[row, column] - 1
    best = np.full((rows, policy.size), -1, np.int64)
    kept = np.full((rows, policy.size), -np.inf, np.float32)
    best[row, at], kept[row, at] = slots[row, column], values[row, column]
    return best, kept, filled


def with_drawn(
    best: Ints,
    values: Floats,
    filled: Ints,
    drawn: Ints,
    chance: Floats,
    source: Logits,
    policy: Policy,
    kinds: Ints | None = None,
) -> Ranked:
    """Return slates with what was drawn [B, K] in its positions; the best move down and drop out beyond K."""
    if policy.quotas is not None and kinds is not None:
        best, values, filled, drawn = with_room(best, values, drawn, kinds, policy.quotas)
    slots, logits, explored, count = put_together(best, values, filled, drawn)
    rows, positions = np.nonzero(explored)
    if len(rows):
        logits[rows, positions] = source.at(rows, slots[rows, positions])
    return Ranked(slots, logits, count, explored, chance)


def _without(best: Ints, values: Floats, filled: Ints, drawn: Ints) -> tuple[Ints, Floats, Ints]:
    """Return slates [B, K] without the slots [B], which get positions of their own; -1 for none."""
    same = (best == drawn[:, None]) & (best >= 0)
    rows = np.flatnonzero(same.any(axis=1))
    best, values, filled = best.copy(), values.copy(), filled.copy()
    best[same], values[same] = -1, -np.inf
    order = np.argsort(same[rows], axis=1, kind="stable")
    for column in (best, values):
        column[rows] = np.take_along_axis(column[rows], order, axis=1)
    filled[rows] -= 1
    return best, values, filled
