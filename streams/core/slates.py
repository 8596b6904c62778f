"""Slates of a batch: what each rests on, noted while the waves pass, and their ranking by the policy of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.lifts import Lifted, Lifts, Social, lifts_of
from streams.core.logits import Drawn, Logits, Products, Same, Stacked
from streams.core.nearest import Eligible, rank_nearest
from streams.core.pool import FreshPool
from streams.core.ports import Floats, Scorer
from streams.core.ranking import Policy, Ranked, joined_slates, rank_tiles
from streams.core.seen import SeenKeys
from streams.core.ties import Ties

Ints = NDArray[np.int64]
POPULAR, RANDOM = "popular", "random"


class Slated:
    """What slates rest on, and what impressions in the same batch must know of them, by event.

    Attributes:
      hidden: float32 [N, H]; bits: uint8 [N, S/8], seen videos; both as of the event.
      seen: in place of the bits, where states have none: seen videos by key.
      ties: whom viewers follow and know, where that counts; most have none and are absent.
      places: int64 [N], place among the remembered slates of the user.
      versions, explored, chances, rests: of the ranked slate; filled by `keep`.
    """

    def __init__(self, count: int, hidden: int, bytes_: int) -> None:
        self.hidden: Floats = np.empty((count, hidden), np.float32)
        self.bits = np.empty((count, bytes_), np.uint8)
        self.seen: dict[int, NDArray[np.uint32]] = {}
        self.ties: dict[int, Ties] = {}
        self.places = np.zeros(count, np.int64)
        self.versions = np.full(count, -1, np.int64)
        self._kept: dict[int, tuple[set[int], float, float]] = {}

    def note(self, places: Ints, hidden: Floats, seen: NDArray[np.uint8] | list[NDArray[np.uint32]]) -> None:
        """Note the states [B] of the events at `places`; what was seen as bits, or as keys."""
        self.hidden[places] = hidden
        if isinstance(seen, np.ndarray):
            self.bits[places] = seen
        else:
            self.seen.update(zip(places.tolist(), seen, strict=True))

    def keep(self, places: Ints, ranked: Ranked, rest: float, versions: Ints) -> None:
        """Keep how slates were made."""
        self.versions[places] = versions
        for place, explored, chance in zip(places.tolist(), ranked.explored, ranked.chance.tolist(), strict=True):
            self._kept[place] = set(np.flatnonzero(explored).tolist()), chance, rest

    def propensity(self, place: int, position: int) -> float:
        """Return the probability with which the policy filled a position of a kept slate as it did."""
        explored, chance, rest = self._kept[place]
        return chance if position in explored else rest


class Order(NamedTuple):
    """Slates of one arm: the events that make them, and what orders their videos.

    Attributes:
      kind: `online` or `frozen` for the scorer's logits, else `popular` or `random`.
      places: int64 [B].
    """

    arm: str
    kind: str
    scorer: Scorer
    places: Ints


def rank_slates(
    slated: Slated,
    orders: Sequence[Order],
    now_ms: Ints,
    pool: FreshPool,
    policy: Policy,
    seeds: NDArray[np.uint64],
    social: Social | None = None,
) -> Ranked:
    """Return the slates of all orders, one below the other, ranked at once.

    Args:
      now_ms, seeds: of every slate, in that order.
      social: what ties of viewers add to their scores; None where they add nothing.
    """
    counts = [len(order.places) for order in orders]
    lifts = _lifts(slated, orders, now_ms, pool, social) if social is not None and slated.ties else None
    if slated.seen:
        cuts = np.cumsum([0, *counts]).tolist()
        shares = [slice(begin, end) for begin, end in pairwise(cuts)]
        return joined_slates(
            [
                _rank_by_key(
                    slated, order, now_ms[share], pool, policy, seeds[share], lifts.part(share) if lifts else None
                )
                for order, share in zip(orders, shares, strict=True)
            ]
        )
    size = pool.size
    bits = ~slated.bits[np.concatenate([order.places for order in orders])] & fresh_bits(pool, now_ms)
    ends = np.cumsum(counts).tolist()
    parts = [
        _logits(order, slated, pool, seeds[end - count : end])
        for order, count, end in zip(orders, counts, ends, strict=True)
    ]
    full = [order.kind in (POPULAR, RANDOM) for order in orders]
    minimum = np.repeat(np.where(full, policy.size, policy.minimum), counts)
    logits = parts[0] if len(parts) == 1 else Stacked(parts, counts)
    if lifts is not None:
        logits = Lifted(logits, lifts)
    return rank_tiles(logits, size, bits, pool.authors[:size], policy, minimum, seeds, pool.kinds[:size])


def _lifts(slated: Slated, orders: Sequence[Order], now_ms: Ints, pool: FreshPool, social: Social) -> Lifts | None:
    """Return what ties add to the slates of those orders that follow a model."""
    places = np.concatenate([order.places for order in orders])
    plain = np.repeat([order.kind in (POPULAR, RANDOM) for order in orders], [len(order.places) for order in orders])
    row_of = np.full(len(slated.places), -1)
    row_of[places[~plain]] = np.flatnonzero(~plain)
    ties = {row: one for place, one in slated.ties.items() if (row := int(row_of[place])) >= 0}
    return lifts_of(ties, now_ms, pool.size, social) if ties else None


def _rank_by_key(
    slated: Slated,
    order: Order,
    now_ms: Ints,
    pool: FreshPool,
    policy: Policy,
    seeds: NDArray[np.uint64],
    lifts: Lifts | None,
) -> Ranked:
    """Return the slates of one order, whose viewers' seen videos are known by key."""
    eligible = Eligible(pool, now_ms, SeenKeys([slated.seen[place] for place in order.places.tolist()]))
    logits = _logits(order, slated, pool, seeds)
    index = pool.index(order.scorer) if isinstance(logits, Products) and not policy.temperature else None
    if isinstance(logits, Products) and index is not None:
        return rank_nearest(logits, index, eligible, policy, seeds, lifts)
    if lifts:
        logits = Lifted(logits, lifts)
    rows = np.arange(len(order.places))
    minimum = np.full(len(rows), policy.size if order.kind in (POPULAR, RANDOM) else policy.minimum)
    size, bits = pool.size, eligible.bits(rows)
    return rank_tiles(logits, size, bits, pool.authors[:size], policy, minimum, seeds, pool.kinds[:size])


def _logits(order: Order, slated: Slated, pool: FreshPool, seeds: NDArray[np.uint64]) -> Logits:
    size = pool.size
    if order.kind == RANDOM:
        return Drawn(seeds, size)
    if order.kind == POPULAR:
        return Same(np.log1p(pool.popularity[:size]).astype(np.float32))
    return Products(order.scorer.queries(slated.hidden[order.places]), pool.encoded(order.scorer).keys[:size])


def fresh_bits(pool: FreshPool, now_ms: Ints) -> NDArray[np.uint8]:
    """Return which slots are fresh as bits: [1, S/8] when all moments [B] agree, else [B, S/8]."""
    early, late = pool.fresh(int(now_ms.min())), pool.fresh(int(now_ms.max()))
    if np.array_equal(early, late):
        return np.packbits(late, bitorder="little")[None]
    moments, which = np.unique(now_ms, return_inverse=True)
    rows = np.stack([np.packbits(pool.fresh(moment), bitorder="little") for moment in moments.tolist()])
    return rows[which]
