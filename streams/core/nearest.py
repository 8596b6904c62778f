"""Slates in a large pool: candidates from an index, ranked anew by their exact logits, filtered as in a small one.

A row is worked on by itself, so that its slate does not depend on the batch around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streams.core.best import MARGIN
from streams.core.explore import explore
from streams.core.lifts import Lifted, Lifts
from streams.core.logits import Logits, Products
from streams.core.pool import FreshPool
from streams.core.ports import Index
from streams.core.quotas import searched_by_kind, with_least
from streams.core.ranking import (
    Bools,
    Ints,
    Policy,
    Ranked,
    admitted,
    compact,
    rank_tiles,
    with_drawn,
)
from streams.core.seen import SeenKeys
from streams.core.top import Candidates, in_order

_LEAST, _MOST = 64, 4096  # candidates asked of the index: at first, and before every video is looked at


@dataclass(frozen=True)
class Eligible:
    """What may be recommended to viewers [B] at moments [B]: what is fresh and what they have not seen."""

    pool: FreshPool
    now_ms: Ints
    seen: SeenKeys

    def at(self, rows: Ints, slots: Ints) -> Bools:
        """Return which slots [M] are eligible for rows [M]."""
        fresh = self.pool.windows.are_open(slots, self.now_ms[rows])
        return fresh & ~self.seen.holds(rows, self.pool.keys[slots])

    def count(self) -> Ints:
        """Return how many videos are eligible, at least: a seen one counts as fresh, also where it has expired."""
        found: Ints = np.maximum(self.pool.count(self.now_ms) - self.seen.counts, 0)
        return found

    def anywhere(self) -> Bools:
        """Return which slots [S] are open at one of the moments."""
        return self.pool.windows.open_between(self.pool.size, int(self.now_ms.min()), int(self.now_ms.max()))

    def bits(self, rows: Ints) -> NDArray[np.uint8]:
        """Return what is eligible for rows [R] as bits [R, S/8]; takes a look at every slot."""
        found = np.zeros((len(rows), (self.pool.size + 7) // 8), np.uint8)
        for place, row in enumerate(rows.tolist()):
            free = self.pool.fresh(int(self.now_ms[row]))
            for low in self.seen.of(row).tolist():
                free[[slot for slot in self.pool.slots_of_low(low) if slot < len(free)]] = False
            found[place] = np.packbits(free, bitorder="little")
        return found


def rank_nearest(
    products: Products,
    index: Index,
    eligible: Eligible,
    policy: Policy,
    seeds: NDArray[np.uint64],
    lifts: Lifts | None = None,
) -> Ranked:
    """Make one slate per query of `products` from what `index` finds among its keys, and from what is lifted.

    Candidates that are not eligible, or that the author cap takes out, may leave a row short: it is then done again
    with four times as many, and in the end with every video.
    """
    rows, size, authors, kinds = len(products.queries), len(products.keys), eligible.pool.authors, eligible.pool.kinds
    logits: Logits = Lifted(products, lifts) if lifts else products
    best = np.full((rows, policy.size), -1, np.int64)
    values = np.full((rows, policy.size), -np.inf, np.float32)
    filled, minimum = np.zeros(rows, np.int64), np.full(rows, policy.minimum)
    todo, wanted = np.arange(rows), max(_LEAST, 2 * (policy.size + MARGIN))
    while len(todo) and wanted <= min(_MOST, size):
        near = index.search(products.queries[todo], wanted)
        found = _found(logits, near if lifts is None else lifts.beside(near, todo), todo, eligible)
        slots, logit = in_order(found, len(todo))
        good = admitted(slots, authors, policy, kinds)
        best[todo], values[todo], filled[todo] = compact(slots, logit, good, policy, minimum[todo])
        todo = todo[good.sum(axis=1) < policy.size]
        wanted *= 4
    if len(todo):
        some: Logits = Products(products.queries[todo], products.keys)
        if lifts:
            some = Lifted(some, lifts.taken(todo))
        plain = replace(policy, exploration=0.0)
        every = rank_tiles(
            some, size, eligible.bits(todo), authors[:size], plain, minimum[todo], seeds[todo], kinds[:size]
        )
        best[todo], values[todo], filled[todo] = every.slots, every.logits, every.count
    if policy.quotas is not None and rows:
        search = searched_by_kind(logits, kinds[:size], eligible.anywhere(), eligible.at)
        best, values = with_least(best, values, authors, kinds, policy.author_cap, policy.quotas, search)
        filled = (best >= 0).sum(axis=1)
    free = eligible.count()
    length = np.minimum(policy.size, np.maximum(filled, np.minimum(minimum, free)))
    drawn = explore(best, length, size, eligible.at, policy.exploration, seeds)
    return with_drawn(best, values, filled, drawn, policy.chance(free - filled), logits, policy, kinds)


def _found(logits: Logits, slots: Ints, rows: Ints, eligible: Eligible) -> Candidates:
    """Return what of the slots [R, W] that an index found for `rows` may be recommended, with exact logits."""
    place, column = np.nonzero(slots >= 0)
    found = slots[place, column]
    values = logits.at(rows[place], found)
    keep = eligible.at(rows[place], found) & (np.abs(values) < np.inf)
    return Candidates(place[keep], found[keep], values[keep], np.zeros(len(rows), bool))
