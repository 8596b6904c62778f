"""Least and most positions of a slate by kind, kept while slates are made: by the batch, best first.

A slate is made by score, no kind having more than its most. Then a kind that is short of its least gets positions for
its best, from the lowest of those kinds that are above theirs. What is explored counts too: it takes the position of
the lowest that its kinds' limits let go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.core.eligibility import KINDS
from streams.core.equals import nth_of_equals
from streams.core.explore import Allowed
from streams.core.logits import Logits
from streams.core.ports import Floats
from streams.core.tiles import TILE
from streams.core.top import Candidates, candidates, in_order, joined

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
NO_LIMIT = 1 << 20  # more than a slate has positions
_FURTHER = 12  # candidates beyond what a kind is short of, for the author cap

#: Rows [R] and a number: at least so many best slots [R, W] of a kind that may be recommended, with their logits, best
#: first, -1 beyond; and which rows [R] have no others.
Search = Callable[[int, Ints, int], tuple[Ints, Floats, Bools]]


@dataclass(frozen=True)
class Quotas:
    """Least and most positions by place of the kind in `Kind`."""

    least: tuple[int, ...]
    most: tuple[int, ...]

    @classmethod
    def of(cls, limits: Mapping[str, tuple[int, int]]) -> Quotas | None:
        """Return the quotas of kinds by name; None when there are none."""
        if not limits:
            return None
        both = [limits.get(kind.value, (0, NO_LIMIT)) for kind in KINDS]
        return cls(tuple(least for least, _ in both), tuple(most for _, most in both))

    def column(self, limits: tuple[int, ...]) -> Ints:
        """Return limits by kind [kinds + 1]; the last, reached by kind -1, is that of an empty position."""
        return np.array([*limits, NO_LIMIT], np.int64)


def within(authors: Ints, kinds: Ints, valid: Bools, size: int, author_cap: int, quotas: Quotas) -> Bools:
    """Return which of candidates [B, C], best first, are taken one after the other until `size` are.

    Args:
      authors, kinds: [B, C]; kind -1 where nothing is.
    """
    rows, width = kinds.shape
    found = np.zeros((rows, width), bool)
    authors_in, count = np.zeros((rows, size), np.int64), np.zeros(rows, np.int64)
    left = np.tile(quotas.column(quotas.most), (rows, 1))
    every, filled = np.arange(rows), np.arange(size)
    for column in range(width):
        author, kind = authors[:, column], kinds[:, column]
        crowd = ((authors_in == author[:, None]) & (filled < count[:, None])).sum(axis=1)
        good = valid[:, column] & (count < size) & (crowd < author_cap) & (left[every, kind] > 0)
        at = np.flatnonzero(good)
        found[at, column] = True
        authors_in[at, count[at]] = author[at]
        count[at] += 1
        left[at, kind[at]] -= 1
        if (count == size).all():
            break
    return found


def _let_go(kinds: Ints, beside: Ints, number: Ints, quotas: Quotas) -> Bools:
    """Return which of positions [B, K], best first, go: the lowest that leave their kind its least.

    Args:
      kinds: [B, K], -1 for an empty position.
      beside: [B, kinds + 1], positions that stay in any case, by kind.
      number: [B] how many go, at least: what is beyond a kind's most goes too.
    """
    counts = beside + _counts(kinds, beside.shape[1])
    spare = np.maximum(counts - quotas.column(quotas.least), 0)
    over = np.maximum(counts - quotas.column(quotas.most), 0)
    every = np.arange(len(kinds))[:, None]
    from_last = nth_of_equals(kinds[:, ::-1])[:, ::-1]
    there = kinds >= 0
    must: Bools = there & (from_last < over[every, kinds])
    may = there & ~must & (from_last < spare[every, kinds])
    further = number - must.sum(axis=1)
    lowest = np.cumsum(may[:, ::-1], axis=1)[:, ::-1] <= further[:, None]
    gone: Bools = must | (may & lowest)
    return gone


def _counts(kinds: Ints, width: int) -> Ints:
    """Return how many positions [B, K] each kind has, [B, width]; what is empty counts in the last column."""
    found = np.zeros((len(kinds), width), np.int64)
    np.add.at(found, (np.arange(len(kinds))[:, None], kinds), 1)
    return found


def _counted(kinds: Ints) -> Ints:
    """Return how many positions [B, K] each kind has, [B, kinds + 1], without the empty ones."""
    found = _counts(kinds, len(KINDS) + 1)
    found[:, -1] = 0
    return found


def _beyond_most(kinds: Ints, quotas: Quotas) -> Bools:
    """Return which positions [B, K] are one more of their kind than its most, counted from the first."""
    found: Bools = (kinds >= 0) & (nth_of_equals(kinds) >= quotas.column(quotas.most)[kinds])
    return found


def searched_by_kind(logits: Logits, kinds: Ints, some: Bools, allowed: Allowed) -> Search:
    """Return what finds the best of a kind alone.

    Args:
      some: [N], what may be recommended to anyone.
    """
    parts: dict[int, tuple[Ints, Logits]] = {}

    def search(place: int, rows: Ints, wanted: int) -> tuple[Ints, Floats, Bools]:
        if place not in parts:
            mine = np.flatnonzero(some & (kinds == place))
            parts[place] = mine, logits.among(mine)
        mine, among = parts[place]
        if not len(mine):
            nothing = np.zeros((len(rows), 0))
            return nothing.astype(np.int64), nothing.astype(np.float32), np.ones(len(rows), bool)
        tiles = [rows[start : start + TILE] for start in range(0, len(rows), TILE)]
        found = joined([candidates(among.tile(tile), min(wanted, len(mine))) for tile in tiles], TILE)
        keep = allowed(rows[found.rows], mine[found.slots]) & (found.logits < np.inf)
        kept = Candidates(found.rows[keep], mine[found.slots[keep]], found.logits[keep], found.whole)
        return *in_order(kept, len(rows)), found.whole

    return search


def with_least(
    best: Ints, values: Floats, authors: Ints, kinds: Ints, author_cap: int, quotas: Quotas, search: Search
) -> tuple[Ints, Floats]:
    """Return slates [B, K] and logits [B, K] in which no kind that has candidates is short of its least.

    Args:
      best, values: best first, -1 and -inf beyond; within the author cap and every kind's most.
      authors, kinds: [N] by slot.
    """
    best, values = best.copy(), values.copy()
    for place, least in enumerate(quotas.least):
        if not least:
            continue
        have = ((best >= 0) & (kinds[best] == place)).sum(axis=1)
        todo, wanted = np.flatnonzero(have < least), least + _FURTHER
        while len(todo):
            slots, logits, whole = search(place, todo, wanted)
            new = _fitting(best[todo], slots, authors, author_cap, least - have[todo])
            done = whole | (new.sum(axis=1) >= least - have[todo])
            some = todo[done]
            best[some], values[some] = _replaced(
                best[some], values[some], np.where(new, slots, -1)[done], logits[done], kinds, quotas
            )
            todo, wanted = todo[~done], 4 * wanted
    return best, values


def _fitting(best: Ints, slots: Ints, authors: Ints, author_cap: int, number: Ints) -> Bools:
    """Return which candidates [R, W] may stand beside slates [R, K]: the first `number` [R] of them."""
    if not slots.shape[1]:
        return np.zeros(slots.shape, bool)
    fits = (slots >= 0) & ~(slots[:, :, None] == best[:, None, :]).any(axis=2)
    theirs, others = authors[slots], np.where(best >= 0, authors[best], 0)
    crowd = ((theirs[:, :, None] == others[:, None, :]) & (best >= 0)[:, None, :]).sum(axis=2)
    among = nth_of_equals(np.where(fits, theirs, -1 - np.arange(slots.shape[1])))
    fits &= crowd + among < author_cap
    found: Bools = fits & (np.cumsum(fits, axis=1) <= number[:, None])
    return found


def _replaced(
    best: Ints, values: Floats, new: Ints, logits: Floats, kinds: Ints, quotas: Quotas
) -> tuple[Ints, Floats]:
    """Return slates [R, K] with new items [R, W] (-1: none), in order; the lowest that may go make room."""
    rows, size = best.shape
    room = size - (best >= 0).sum(axis=1) - (new >= 0).sum(axis=1)
    gone = _let_go(_kinds_of(best, kinds), _counted(_kinds_of(new, kinds)), np.maximum(-room, 0), quotas)
    slots = np.concatenate([np.where(gone, -1, best), new], axis=1)
    row, column = np.nonzero(slots >= 0)
    every = np.concatenate([values, logits], axis=1)
    found = Candidates(row, slots[row, column], every[row, column], np.zeros(rows, bool))
    ordered, in_turn = in_order(found, rows)
    made, kept = np.full((rows, size), -1, np.int64), np.full((rows, size), -np.inf, np.float32)
    width = min(size, ordered.shape[1])
    made[:, :width], kept[:, :width] = ordered[:, :width], in_turn[:, :width]
    return made, kept


def _kinds_of(slots: Ints, kinds: Ints) -> Ints:
    return np.where(slots >= 0, kinds[slots], -1)


def with_room(best: Ints, values: Floats, drawn: Ints, kinds: Ints, quotas: Quotas) -> tuple[Ints, Floats, Ints, Ints]:
    """Take out of slates what must go for the videos drawn.

    Returns: slates, logits, how many are filled, and what is drawn.

    A draw is given up when it is beyond its kind's most, or when the least of another kind leaves it no position.
    """
    there, drawn = best >= 0, drawn.copy()
    own = np.where(there, kinds[best], -1)
    drawn[_beyond_most(np.where(drawn >= 0, kinds[drawn], -1), quotas)] = -1
    while True:
        explored = drawn >= 0
        beyond = np.maximum(there.sum(axis=1) + explored.sum(axis=1) - best.shape[1], 0)
        gone = _let_go(own, _counted(np.where(explored, kinds[drawn], -1)), beyond, quotas)
        crowded = np.flatnonzero(gone.sum(axis=1) < beyond)
        if not len(crowded):
            break
        drawn[crowded, explored.shape[1] - 1 - explored[crowded, ::-1].argmax(axis=1)] = -1
    rows = np.flatnonzero(gone.any(axis=1))
    best, values = np.where(gone, -1, best), np.where(gone, np.float32(-np.inf), values)
    order = np.argsort(best[rows] < 0, axis=1, kind="stable")
    for column in (best, values):
        column[rows] = np.take_along_axis(column[rows], order, axis=1)
    return best, values, (best >= 0).sum(axis=1), drawn
