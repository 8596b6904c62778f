"""Slates in a large pool: candidates from an index, ranked anew by their exact logits, filtered as in a small one.

A row is worked on by itself, so that its slate does not depend on the batch around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.core.pool import FreshPool
from streams.core.ports import Floats, Index
from streams.core.ranking import (
    MARGIN,
    Bools,
    Ints,
    Policy,
    Ranked,
    admitted,
    compact,
    rank_products,
    with_exploration,
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
        fresh: Bools = self.pool.expires_ms[slots] > self.now_ms[rows]
        return fresh & ~self.seen.holds(rows, self.pool.keys[slots])

    def count(self) -> Ints:
        """Return how many videos are eligible, at least: a seen one counts as fresh, also where it has expired."""
        return np.maximum(self.pool.census.count(self.now_ms) - self.seen.counts, 0)

    def bits(self, rows: Ints) -> NDArray[np.uint8]:
        """Return what is eligible for rows [R] as bits [R, S/8]; takes a look at every slot."""
        found = np.zeros((len(rows), (self.pool.size + 7) // 8), np.uint8)
        for place, row in enumerate(rows.tolist()):
            free = self.pool.fresh(int(self.now_ms[row]))
            for low in self.seen.of(row).tolist():
                free[list(self.pool.slots_of_low(low))] = False
            found[place] = np.packbits(free, bitorder="little")
        return found


def rank_nearest(
    queries: Floats, keys: Floats, index: Index, eligible: Eligible, policy: Policy, seeds: NDArray[np.uint64]
) -> Ranked:
    """Make one slate per row of queries [B, D] from what `index` finds in keys [N, D].

    Candidates that are not eligible, or that the author cap takes out, may leave a row short: it is then done again
    with four times as many, and in the end with every video.
    """
    rows, authors = len(queries), eligible.pool.authors[: len(keys)]
    best = np.full((rows, policy.size), -1, np.int64)
    values = np.full((rows, policy.size), -np.inf, np.float32)
    filled = np.zeros(rows, np.int64)

    def logits_at(some: Ints, slots: Ints) -> Floats:
        found: Floats = np.einsum("md,md->m", queries[some], keys[slots])
        return found

    todo, wanted = np.arange(rows), max(_LEAST, 2 * (policy.size + MARGIN))
    while len(todo) and wanted <= min(_MOST, len(keys)):
        row, column = np.nonzero((found := index.search(queries[todo], wanted)) >= 0)
        slots = found[row, column]
        logits = logits_at(todo[row], slots)
        keep = eligible.at(todo[row], slots) & (np.abs(logits) < np.inf)
        chosen = Candidates(row[keep], slots[keep], logits[keep], np.zeros(len(todo), bool))
        ordered, logit = in_order(chosen, len(todo))
        good = admitted(ordered, authors, policy)
        best[todo], values[todo], filled[todo] = compact(ordered, logit, good, policy)
        todo = todo[good.sum(axis=1) < policy.size]
        wanted *= 4
    if len(todo):
        plain = Policy(policy.size, policy.minimum, policy.threshold, policy.author_cap, 0.0)
        every = rank_products(queries[todo], keys, eligible.bits(todo), authors, plain, seeds[todo])
        best[todo], values[todo], filled[todo] = every.slots, every.logits, every.count
    return with_exploration(best, values, filled, eligible.count(), logits_at, len(keys), eligible.at, policy, seeds)
