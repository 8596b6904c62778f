"""Scores to slates: threshold, unseen, cap per author, and positions given to exploration with known propensity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from streams.core.equals import nth_of_equals
from streams.core.explore import Allowed, Usable, explore, explore_by_score
from streams.core.logits import Given, Logits
from streams.core.ports import Floats
from streams.core.quotas import Quotas, searched_by_kind, with_least, with_room, within
from streams.core.tiles import TILE
from streams.core.top import Candidates, candidates, in_order, joined

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
_PROBE, _OFTEN = 128, 0.1  # rows that show whether what is not allowed is often among the best
MARGIN = 12  # candidates beyond K, for the author cap; where they do not suffice more are taken


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
    """
    kinds = kinds if count else None  # no kind is short of anything in an empty pool
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
    return with_exploration(best, values, filled, free, logits, count, allowed, policy, minimum, seeds, kinds, usable)


def _bests(
    logits: Logits,
    count: int,
    bits: NDArray[np.uint8],
    authors: Ints,
    policy: Policy,
    minimum: Ints,
    kinds: Ints | None,
) -> tuple[Ints, Floats, Ints]:
    """Return slots [B, K], logits [B, K] and how many of each row are filled.

    What is not allowed is seldom among the best, so it is first left in and taken out of the candidates afterwards;
    rows that this leaves short are done again without it, with ever more candidates. A batch in which that happens
    often is done without it at once. The result is the same on each way.
    """
    rows = len(bits)
    best = np.full((rows, policy.size), -1, np.int64)
    values = np.full((rows, policy.size), -np.inf, np.float32)
    filled = np.zeros(rows, np.int64)

    def short_of(some: Ints, wanted: int, masked: bool) -> Ints:
        """Fill rows; return those for which `wanted` candidates were too few."""
        found = _candidates(logits, some, bits, count, wanted, masked)
        slots, logit = in_order(found, len(some))
        good = admitted(slots, authors, policy, kinds)
        best[some], values[some], filled[some] = compact(slots, logit, good, policy, minimum[some])
        left: Ints = some[~found.whole & (good.sum(axis=1) < policy.size)]
        return left

    if not rows or not count:
        return best, values, filled
    every, wanted = np.arange(rows), min(count, policy.size + MARGIN)
    probe, rest = every[:_PROBE], every[_PROBE:]
    short = short_of(probe, wanted, masked=False)
    seldom = len(short) <= _OFTEN * len(probe)
    again = [short, short_of(rest, wanted, masked=False) if seldom and len(rest) else rest]
    todo = np.concatenate(again)
    while len(todo):
        todo = short_of(todo, wanted, masked=True)
        wanted = min(count, 4 * wanted)
    return best, values, filled


def is_set(bits: NDArray[np.uint8], rows: Ints, places: Ints) -> Bools:
    """Return the bits [M] of rows [M] at places [M], little bit first."""
    found: Bools = ((bits[rows, places >> 3] >> (places & 7).astype(np.uint8)) & 1).astype(bool)
    return found


def _candidates(
    logits: Logits, rows: Ints, bits: NDArray[np.uint8], count: int, wanted: int, masked: bool
) -> Candidates:
    """Return candidates of rows that are allowed and finite; with `masked`, nothing else can push them out."""
    parts = []
    for start in range(0, len(rows), TILE):
        some = rows[start : start + TILE]
        tile = logits.tile(some)
        if masked:
            forbidden = np.unpackbits(~bits[some], axis=1, count=count, bitorder="little").view(bool)
            np.putmask(tile, forbidden, -np.inf)
            if not tile.max(initial=-np.inf) < np.inf:  # also where it is not a number
                np.copyto(tile, -np.inf, where=~(np.abs(tile) < np.inf))
        parts.append(candidates(tile, wanted))
    found = joined(parts, TILE)
    if masked:
        return found
    keep = np.flatnonzero(is_set(bits, rows[found.rows], found.slots) & (found.logits < np.inf))
    return Candidates(found.rows[keep], found.slots[keep], found.logits[keep], found.whole)


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


def with_exploration(
    best: Ints,
    values: Floats,
    filled: Ints,
    free: Ints,
    source: Logits,
    count: int,
    allowed: Allowed,
    policy: Policy,
    minimum: Ints,
    seeds: NDArray[np.uint64],
    kinds: Ints | None = None,
    usable: Usable | None = None,
) -> Ranked:
    """Give positions to drawn videos; the best move down and drop out beyond K.

    Args:
      usable: as `allowed`, for whole rows; needed where what is drawn depends on the scores.
    """
    length = np.minimum(policy.size, np.maximum(filled, np.minimum(minimum, free)))
    if policy.temperature:
        assert usable is not None
        share = policy.exploration if count else 0.0
        drawn, chance = explore_by_score(source, length, policy.size, usable, share, policy.temperature, seeds)
        best, values, filled = _without(best, values, filled, drawn.max(axis=1, initial=-1))
    else:
        drawn = explore(best, length, count, allowed, policy.exploration, seeds)
        chance = (policy.exploration / np.maximum(free - filled, 1)).astype(np.float32)
    if policy.quotas is not None and kinds is not None:
        best, values, filled, drawn = with_room(best, values, drawn, kinds, policy.quotas)
    explored = drawn >= 0
    if not explored.any():
        return Ranked(best, values, filled, explored, chance)
    index = np.arange(policy.size) - np.cumsum(explored, axis=1)  # how many of the best stand before
    from_best = ~explored & (index < filled[:, None])
    index = np.maximum(index, 0)
    slots = np.where(explored, drawn, np.where(from_best, np.take_along_axis(best, index, axis=1), -1))
    logits = np.where(from_best, np.take_along_axis(values, index, axis=1), np.float32(-np.inf))
    rows, positions = np.nonzero(explored)
    logits[rows, positions] = source.at(rows, slots[rows, positions])
    taken = slots >= 0
    total = taken.sum(axis=1)
    holes = np.flatnonzero((taken != (np.arange(policy.size) < total[:, None])).any(axis=1))
    if len(holes):  # fewer videos than positions: close up
        order = np.argsort(~taken[holes], axis=1, kind="stable")
        for column in (slots, logits, explored):
            column[holes] = np.take_along_axis(column[holes], order, axis=1)
    return Ranked(slots, logits, total, explored, chance)


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
