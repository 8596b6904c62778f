"""Lifts are what would come of adding them to every logit, and cost nothing where there are none."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.cells import CellIndex
from streams.core.activity import LIKES, Activity, decayed
from streams.core.erasure import mark_of
from streams.core.events import EventType, Feedback
from streams.core.graph import Authors, TagPairs
from streams.core.hashing import key64
from streams.core.lifts import LiftConfig, Lifted, Lifts, Social, lifts_of
from streams.core.logits import Given, Products
from streams.core.nearest import Eligible, rank_nearest
from streams.core.pool import FreshPool
from streams.core.ranking import Policy, rank, rank_tiles
from streams.core.seen import SeenKeys
from streams.core.step import Partition
from streams.core.ties import Ties
from tests.fakes import FakeScorer, event, video
from tests.property.test_batch_cuts import CONFIG

HOUR_MS = 3_600_000


def pool_of(authors, capacity=256):
    pool = FreshPool(capacity, 10**12, 1000)
    pool.add([video(number, 1000 * number, author) for number, author in enumerate(authors)])
    return pool


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60), st.lists(st.integers(0, 7), unique=True), st.integers(1, 4)
)
def test_videos_of_authors_are_the_newest_ones(authors, wanted, most):
    pool = pool_of(authors[: len(authors) // 2])
    found = Authors(pool)
    found._through = pool.changes if len(authors) % 2 else 0  # some in the layout, some behind it
    found._order = np.argsort(pool.authors[: pool.used], kind="stable")
    found._keys = pool.authors[found._order]
    pool.add([video(n, 1000 * n, author) for n, author in enumerate(authors) if n >= len(authors) // 2 or n % 5 == 0])
    keys = np.array([key64(f"a{one}") for one in wanted], np.int64)
    places, slots = found.slots(keys, most)
    for place, one in enumerate(wanted):
        own = [n for n, author in enumerate(authors) if author == one][::-1][:most]
        assert [pool.ids[slot] for slot in slots[places == place]] == [f"v{n}" for n in own]


def test_authors_are_laid_out_anew_and_a_slot_that_changed_hands_is_the_new_author():
    pool = FreshPool(4000, 10**12, 1000)
    pool.add([video(n, n, n % 3) for n in range(3000)])
    found = Authors(pool)
    key = np.array([key64("a1")])
    assert len(found.slots(key, 5000)[1]) == 1000
    assert len(found._order) == 3000
    pool.add([video(1, 1, 2)])
    assert pool.slot("v1") not in found.slots(key, 5000)[1]
    assert pool.slot("v1") in found.slots(np.array([key64("a2")]), 5000)[1]
    with pool.as_of(0):
        assert not len(found.slots(key, 5000)[1])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 150), st.integers(1, 40))
def test_slates_with_lifts_are_those_of_lifted_logits(seed, rows, count):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, count)).astype(np.float32)
    bits = np.packbits(rng.random((rows, count)) < 0.8, axis=1, bitorder="little")
    some = rng.integers(0, rows * count, 30)
    lifts = Lifts(some // count, some % count, rng.normal(size=30), count)
    dense = logits.copy()
    dense[lifts.rows, lifts.slots] += lifts.values
    policy = Policy(size=6, minimum=3, threshold=0.4, author_cap=2, exploration=0.2)
    authors, seeds = rng.integers(0, 5, count), rng.integers(0, 2**60, rows).astype(np.uint64)
    minimum = np.full(rows, 3)
    one = rank_tiles(Lifted(Given(logits), lifts), count, bits, authors, policy, minimum, seeds)
    allowed = np.unpackbits(bits, axis=1, count=count, bitorder="little").astype(bool)
    other = rank(dense, allowed, authors, policy, seeds)
    np.testing.assert_array_equal(one.slots, other.slots)
    np.testing.assert_array_equal(one.logits, other.logits)
    some = rng.permutation(count)[: rng.integers(0, count + 1)]
    few = Lifted(Given(logits), lifts).among(some).tile(np.arange(min(rows, 64)))
    np.testing.assert_array_equal(few, dense[:64, some])


def test_what_is_lifted_is_a_candidate_though_no_index_would_find_it():
    rng = np.random.default_rng(3)
    pool = pool_of(list(range(200)))
    keys = rng.normal(size=(200, 6)).astype(np.float32)
    queries = rng.normal(size=(3, 6)).astype(np.float32)
    worst = int(np.argmin(queries[1] @ keys.T))
    index = CellIndex(queries, np.arange(200), keys, 2)
    eligible = Eligible(pool, np.full(3, 10**6), SeenKeys([np.zeros(0, np.uint32)] * 3))
    policy, seeds = Policy(size=10, exploration=0.0), np.arange(3).astype(np.uint64)
    plain = rank_nearest(Products(queries, keys), index, eligible, policy, seeds)
    lifts = Lifts(np.array([1]), np.array([worst]), np.array([50.0]), 200)
    lifted = rank_nearest(Products(queries, keys), index, eligible, policy, seeds, lifts)
    assert lifted.slots[1, 0] == worst
    np.testing.assert_array_equal(lifted.slots[1, 1:], plain.slots[1, :9])
    np.testing.assert_array_equal(lifted.slots[[0, 2]], plain.slots[[0, 2]])


def test_followed_authors_and_likes_of_friends_lift_and_age():
    pool, activity = pool_of([0, 1, 1, 2, 3]), Activity(4)
    for friend in ("bob", "cat"):
        activity.like(friend, key64("v3"), 1000)
    activity.like("bob", key64("v4"), 1000)
    activity.like("bob", key64("gone"), 1000)
    social = Social(LiftConfig(0.5, 2.0, HOUR_MS), pool, activity)
    ties = {2: Ties((key64("a1"), 77), (key64("bob"), key64("cat"), 5))}
    lifts = lifts_of(ties, np.full(4, 1000 + HOUR_MS), pool.size, social)
    found = dict(zip(map(str, pool.ids[lifts.slots]), lifts.values.tolist(), strict=True))
    assert set(lifts.rows.tolist()) == {2}
    assert found == pytest.approx({"v1": 0.5, "v2": 0.5, "v3": 2.0, "v4": 2.0 * np.log2(1.5)})
    assert lifts_of({0: Ties((5,), (6,))}, np.zeros(1, np.int64), pool.size, social) is None
    alone = Social(LiftConfig(0.0, 2.0), pool)
    assert not alone.lifts
    assert lifts_of(ties, np.zeros(4, np.int64), pool.size, alone) is None


def test_a_user_who_follows_gets_more_of_that_author_and_nobody_else_does():
    def slates(weight):
        pool = pool_of([n % 20 for n in range(100)])
        config = replace(
            CONFIG, policy=Policy(size=8, author_cap=4, exploration=0.0), lifts=LiftConfig(weight), user_limit=0
        )
        core, scorer = Partition(0, config, pool), FakeScorer()
        events = [event("ann", EventType.FOLLOW, video_id=None, other_id="a7"), event("ann", EventType.WATCH, 3)]
        events += [event("bob", EventType.WATCH, 3)]
        made = core.apply(core.plan([(n, 1000, one) for n, one in enumerate(events)]), lambda arm: scorer).slates
        return {slate.user_id: [int(one[1:]) % 20 for one in slate.video_ids] for slate in made}

    without, lifted = slates(0.0), slates(9.0)
    assert lifted["ann"][:4] == [7, 7, 7, 7]
    assert without["ann"].count(7) < 4
    assert lifted["bob"] == without["bob"]


def test_activity_keeps_the_newest_likes_and_forgets():
    activity = Activity(2)
    for n in range(LIKES + 3):
        activity.like("bob", n + 1, 1000 + n)
    activity.like("bob", LIKES + 3, 5000)  # again: newer, not twice
    places, videos, times = activity.likes(np.array([1, key64("bob")]))
    assert set(places.tolist()) == {1}
    assert sorted(videos.tolist()) == list(range(4, LIKES + 4))
    assert times.max() == 5000
    activity.like("cat", 7, 1)
    activity.like("dan", 8, 1)  # no room: bob liked something longest ago
    assert activity.name(key64("bob")) == ""
    assert activity.name(key64("dan")) == "dan"
    assert activity.forget(mark_of("dan"), 5)
    assert not activity.forget(mark_of("dan"), 5)
    assert not len(activity.likes(np.array([key64("dan")]))[0])
    assert len(activity) == 1


def test_likes_from_before_an_erasure_do_not_come_back_whichever_topic_is_read_first():
    activity = Activity(2)
    like = Feedback(
        impression_id="i", user_id="dan", video_id="v1", revision=0, offset=7, event_time_ms=5, impression_ms=5,
        outcome="like",
    )  # fmt: skip
    assert not activity.forget(mark_of("dan"), 8)
    activity.add(like)
    assert (len(activity), activity.name(key64("dan"))) == (0, "")
    activity.add(msgspec.structs.replace(like, offset=9))  # it came back
    assert activity.name(key64("dan")) == "dan"


def test_a_like_is_worth_half_after_its_half_life():
    assert decayed(np.array([0, 0, 500]), np.array([0, 1000, 100]), 1000.0).tolist() == [1.0, 0.5, 1.0]


def test_tags_that_stand_together_are_near_and_bounded():
    pairs = TagPairs(tags=3, neighbours=2)
    made = [replace_tags(n, tags) for n, tags in enumerate([("a", "b"), ("a", "b"), ("a", "c"), ("x",)])]
    pairs.add(made)
    assert pairs.near("a") == [("b", 2), ("c", 1)]
    assert pairs.near("x") == []
    pairs.add([replace_tags(n, ("p", "q", "r")) for n in range(3)])
    assert pairs.near("a") == []  # forgotten
    for n in range(20):
        pairs.add([replace_tags(n, ("p", f"n{n}")), replace_tags(n, ("p", "q"))])
    assert pairs.near("p")[0][0] == "q"


def replace_tags(number, tags):
    return msgspec.structs.replace(video(number), tags=tags)
