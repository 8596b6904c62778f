"""Slates of a batch: what each rests on, noted while the waves pass, and their ranking by the policy of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streams.core.hashing import draws, uniforms
from streams.core.nearest import Eligible, rank_nearest
from streams.core.pool import FreshPool
from streams.core.ports import Floats, Scorer
from streams.core.ranking import Policy, Ranked, rank, rank_products
from streams.core.seen import SeenKeys

Ints = NDArray[np.int64]


class Slated:
    """What slates rest on, and what impressions in the same batch must know of them, by event.

    Attributes:
      hidden: float32 [N, H]; bits: uint8 [N, S/8], seen videos; both as of the event.
      seen: in place of the bits, where states have none: seen videos by key.
      places: int64 [N], place among the remembered slates of the user.
      versions, explored, chances, rests: of the ranked slate; filled by `keep`.
    """

    def __init__(self, count: int, hidden: int, bytes_: int) -> None:
        self.hidden: Floats = np.empty((count, hidden), np.float32)
        self.bits = np.empty((count, bytes_), np.uint8)
        self.seen: dict[int, NDArray[np.uint32]] = {}
        self.places = np.zeros(count, np.int64)
        self.versions = np.full(count, -1, np.int64)
        self._kept: dict[int, tuple[set[int], float, float]] = {}

    def note(self, places: Ints, hidden: Floats, seen: NDArray[np.uint8] | Sequence[NDArray[np.uint32]]) -> None:
        """Note the states [B] of the events at `places`; what was seen as bits, or as keys."""
        self.hidden[places] = hidden
        if isinstance(seen, np.ndarray):
            self.bits[places] = seen
        else:
            self.seen.update(zip(places.tolist(), seen, strict=True))

    def seen_keys(self, places: Ints) -> SeenKeys:
        """Return what was seen at `places`, where it was noted as keys."""
        return SeenKeys([self.seen[place] for place in places.tolist()])

    def keep(self, places: Ints, ranked: Ranked, rest: float, version: int) -> None:
        """Keep how slates were made."""
        self.versions[places] = version
        for place, explored, chance in zip(places.tolist(), ranked.explored, ranked.chance.tolist(), strict=True):
            self._kept[place] = set(np.flatnonzero(explored).tolist()), chance, rest

    def propensity(self, place: int, position: int) -> float:
        """Return the probability with which the policy filled a position of a kept slate as it did."""
        explored, chance, rest = self._kept[place]
        return chance if position in explored else rest


def rank_slates(
    slated: Slated,
    places: Ints,
    now_ms: Ints,
    kind: str,
    pool: FreshPool,
    scorer: Scorer,
    policy: Policy,
    seeds: NDArray[np.uint64],
) -> Ranked:
    """Return the slates of the events at `places`.

    Args:
      kind: what orders the videos: the model for `online` and `frozen`, else `popular` or `random`.
    """
    size = pool.size
    authors = pool.authors[:size]
    encoded = None if kind in ("random", "popular") else pool.encoded(scorer)
    eligible = Eligible(pool, now_ms, slated.seen_keys(places)) if slated.seen else None
    if encoded is not None and encoded.index is not None and eligible is not None:
        queries = scorer.queries(slated.hidden[places])
        return rank_nearest(queries, encoded.keys[:size], encoded.index, eligible, policy, seeds)
    if eligible is not None:
        bits = eligible.bits(np.arange(len(places)))
    else:
        bits = ~slated.bits[places] & fresh_bits(pool, now_ms)
    if encoded is not None:
        queries = scorer.queries(slated.hidden[places])
        return rank_products(queries, encoded.keys[:size], bits, authors, policy, seeds)
    if kind == "random":
        logits = uniforms(draws(seeds, size)).astype(np.float32)
    else:
        logits = np.tile(np.log1p(pool.popularity[:size]).astype(np.float32), (len(places), 1))
    allowed = np.unpackbits(bits, axis=1, count=size, bitorder="little").view(bool)
    return rank(logits, allowed, authors, replace(policy, minimum=policy.size), seeds)


def fresh_bits(pool: FreshPool, now_ms: Ints) -> NDArray[np.uint8]:
    """Return which slots are fresh as bits: [1, S/8] when all moments [B] agree, else [B, S/8]."""
    early, late = pool.fresh(int(now_ms.min())), pool.fresh(int(now_ms.max()))
    if np.array_equal(early, late):
        return np.packbits(late, bitorder="little")[None]
    moments, which = np.unique(now_ms, return_inverse=True)
    rows = np.stack([np.packbits(pool.fresh(moment), bitorder="little") for moment in moments.tolist()])
    return rows[which]
