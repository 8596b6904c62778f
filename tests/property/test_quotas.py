"""Slates of several kinds: the batch makes what a loop over one viewer's candidates would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.configured import step_config
from streams.core.eligibility import KINDS, Ages
from streams.core.events import Kind, Video
from streams.core.hashing import seeds_of
from streams.core.logits import Products
from streams.core.nearest import Eligible, rank_nearest
from streams.core.pool import FreshPool
from streams.core.quotas import NO_LIMIT, Quotas
from streams.core.ranking import Policy, rank, rank_tiles
from streams.core.seen import SeenKeys
from streams.quotas import KINDS as NAMES
from streams.quotas import parse_quotas
from tests.conftest import load_settings

PLACES = range(len(KINDS))


def plain(logits, allowed, authors, kinds, policy):
    """One viewer's slate, by a loop."""
    order = [slot for slot in np.lexsort((np.arange(len(logits)), -logits)).tolist() if allowed[slot]]
    quotas, slate = policy.quotas, []
    for slot in order:
        if len(slate) == policy.size:
            break
        same = [one for one in slate if kinds[one] == kinds[slot]]
        if crowd(slate, slot, authors) < policy.author_cap and len(same) < quotas.most[kinds[slot]]:
            slate.append(slot)
    slate = [slot for place, slot in enumerate(slate) if logits[slot] > policy.logit or place < policy.minimum]
    for kind in PLACES:
        lacks = quotas.least[kind] - sum(kinds[slot] == kind for slot in slate)
        new = []
        for slot in order if lacks > 0 else ():
            fits = crowd([*slate, *new], slot, authors) < policy.author_cap
            if kinds[slot] == kind and slot not in slate and fits and len(new) < lacks:
                new.append(slot)
        for _ in range(len(slate) + len(new) - policy.size):
            held = [sum(kinds[one] == other for one in [*slate, *new]) for other in PLACES]
            may = [slot for slot in slate if held[kinds[slot]] > quotas.least[kinds[slot]]]
            slate.remove(may[-1])
        slate = sorted([*slate, *new], key=order.index)
    return slate


def crowd(slate, slot, authors):
    return sum(authors[one] == authors[slot] for one in slate)


limits = st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 5, NO_LIMIT])).map(lambda both: (both[0], max(both)))
quotas_of = st.lists(limits, min_size=3, max_size=3).map(
    lambda rows: Quotas(tuple(least for least, _ in rows), tuple(most for _, most in rows))
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), quotas_of, st.integers(9, 14), st.integers(1, 4), st.sampled_from([0.02, 0.4, 0.97]))
def test_slates_are_those_of_a_loop(seed, quotas, size, cap, threshold):
    rng = np.random.default_rng(seed)
    rows, count = int(rng.integers(1, 70)), int(rng.integers(1, 300))
    logits = np.round(rng.normal(size=(rows, count)), 1).astype(np.float32)  # with ties
    allowed = rng.random((rows, count)) < rng.choice([0.1, 0.9])
    authors = rng.integers(0, max(1, count // int(rng.integers(1, 9))), count)
    kinds = rng.choice(3, count, p=rng.dirichlet([0.5, 0.5, 0.5]))
    policy = Policy(size, int(rng.integers(0, size)), threshold, cap, 0.0, quotas)
    ranked = rank(logits.copy(), allowed, authors, policy, seeds_of(0, np.arange(rows)), kinds)
    for row in range(rows):
        assert ranked[row].slots.tolist() == plain(logits[row], allowed[row], authors, kinds, policy)
        assert ranked[row].logits.tolist() == logits[row, ranked[row].slots].tolist()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), quotas_of, st.sampled_from([0.2, 0.9]))
def test_exploration_keeps_within_the_quotas(seed, quotas, share):
    rng = np.random.default_rng(seed)
    rows, count, size = 40, int(rng.integers(1, 120)), 10
    logits = rng.normal(size=(rows, count)).astype(np.float32)
    allowed = rng.random((rows, count)) < 0.7
    kinds = rng.choice(3, count, p=rng.dirichlet([1.0, 1.0, 1.0]))
    policy = Policy(size, 4, 0.5, 3, share, quotas)
    seeds = seeds_of(1, np.arange(rows))
    ranked = rank(logits, allowed, np.arange(count), policy, seeds, kinds)
    for row in range(rows):
        slots = ranked[row].slots
        assert len(set(slots.tolist())) == len(slots) <= size
        assert allowed[row, slots].all()
        held, there = np.bincount(kinds[slots], minlength=3), np.bincount(kinds[allowed[row]], minlength=3)
        assert (held <= quotas.most).all()
        assert (held >= np.minimum(quotas.least, there)).all()
        chosen = [slot for place, slot in enumerate(slots.tolist()) if not ranked.explored[row, place]]
        assert chosen == sorted(chosen, key=lambda slot: -logits[row, slot])


def test_quotas_that_limit_nothing_change_nothing():
    rng = np.random.default_rng(5)
    logits, allowed = rng.normal(size=(90, 400)).astype(np.float32), rng.random((90, 400)) < 0.8
    authors, kinds = rng.integers(0, 60, 400), rng.integers(0, 3, 400)
    policy = Policy(12, 4, 0.4, 2, 0.3)
    found = [
        rank(logits.copy(), allowed, authors, replace(policy, quotas=quotas), seeds_of(2, np.arange(90)), kinds)
        for quotas in (None, Quotas((0, 0, 0), (NO_LIMIT,) * 3))
    ]
    for column in ("slots", "logits", "count", "explored", "chance"):
        assert np.array_equal(getattr(found[0], column), getattr(found[1], column))


def test_a_slate_does_not_depend_on_the_batch_around_it():
    rng = np.random.default_rng(6)
    rows, count = 150, 600
    queries, keys = rng.normal(size=(rows, 8)).astype(np.float32), rng.normal(size=(count, 8)).astype(np.float32)
    bits = np.packbits(rng.random((rows, count)) < 0.8, axis=1, bitorder="little")
    authors, kinds = rng.integers(0, 90, count), rng.choice(3, count, p=[0.9, 0.07, 0.03])
    policy, seeds = Policy(12, 4, 0.4, 2, 0.3, Quotas((0, 2, 1), (12, 3, 2))), seeds_of(2, np.arange(rows))

    def made(some):
        minimum = np.full(len(some), policy.minimum)
        return rank_tiles(
            Products(queries[some], keys), count, bits[some], authors, policy, minimum, seeds[some], kinds
        )

    whole = made(np.arange(rows))
    for cut in (np.arange(7), np.arange(60, 130), np.arange(149, 150)):
        assert np.array_equal(made(cut).slots, whole.slots[cut])
        assert np.array_equal(made(cut).explored, whole.explored[cut])


class PlainIndex:
    """Finds the best among the slots that it holds."""

    def __init__(self, slots, keys):
        self.slots, self.keys = slots, keys

    def search(self, queries, wanted):
        order = np.argsort(-(queries @ self.keys.T), axis=1, kind="stable")[:, :wanted]
        return np.pad(self.slots[order], ((0, 0), (0, max(0, wanted - len(self.slots)))), constant_values=-1)


@pytest.mark.parametrize("exploration", [0.0, 0.4])
def test_a_large_pool_keeps_the_same_quotas(exploration):
    rng = np.random.default_rng(7)
    rows, count = 40, 500
    kinds = rng.choice(3, count, p=[0.9, 0.07, 0.03])
    pool = FreshPool(count, Ages.same(1000), 10)
    pool.add([
        Video(video_id=f"v{number}", author_id=f"a{number % 90}", published_ms=0, kind=KINDS[kind])
        for number, kind in enumerate(kinds.tolist())
    ])  # fmt: skip
    queries, keys = rng.normal(size=(rows, 8)).astype(np.float32), rng.normal(size=(count, 8)).astype(np.float32)
    policy, seeds = Policy(12, 4, 0.4, 2, exploration, Quotas((0, 2, 1), (9, 3, 2))), seeds_of(2, np.arange(rows))
    eligible = Eligible(pool, np.full(rows, 10), SeenKeys([np.zeros(0, np.uint32)] * rows))
    logits = Products(queries, keys)
    near = rank_nearest(logits, PlainIndex(np.arange(count), keys), eligible, policy, seeds)
    bits = eligible.bits(np.arange(rows))
    every = rank_tiles(logits, count, bits, pool.authors, policy, np.full(rows, 4), seeds, pool.kinds)
    assert np.array_equal(near.slots, every.slots)
    held = np.stack([np.bincount(kinds[row.slots], minlength=3) for row in near])
    assert (held >= [0, 2, 1]).all()
    assert (held <= [9, 3, 2]).all()


def test_the_setting_says_which_kinds_have_limits():
    assert tuple(kind.value for kind in Kind) == NAMES
    assert parse_quotas("") == {}
    assert parse_quotas("product:0-2, live:1-3") == {"product": (0, 2), "live": (1, 3)}
    policy = step_config(load_settings(quotas="product:0-2,live:1-3")).policy
    assert policy.quotas == Quotas((0, 0, 1), (NO_LIMIT, 2, 3))
    assert step_config(load_settings()).policy.quotas is None


@pytest.mark.parametrize("text", ["song:0-1", "live", "live:3-1", "live:0-1,live:0-2", "live:-1-2", "live:0-1000"])
def test_quotas_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=r"kind|live|song"):
        parse_quotas(text)
    with pytest.raises(Exception, match="QUOTAS"):
        load_settings(quotas=text)


def test_least_positions_must_fit_into_a_slate():
    with pytest.raises(Exception, match="slate_size together"):
        load_settings(quotas="product:3-4,live:3-9", slate_size=5, slate_minimum=1)
