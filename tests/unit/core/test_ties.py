"""Whom a user follows and knows: bounded lists in its state, moved by its own events alone."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from streams.codecs import BadRecord, Decoder, encode
from streams.core.events import Event, EventType
from streams.core.hashing import key64
from streams.core.layout import fixed_size
from streams.core.step import Partition
from streams.core.ties import NONE, Ties, tied
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG, make_pool


def told(kind, other=None, author=0, ties=NONE, most=3):
    return tied(ties, event("u", kind, other_id=other, video_id=None if other else "v1"), author, most)


def test_follows_and_friends_are_kept_apart_and_taken_back():
    ties = told(EventType.FOLLOW, author=5)
    ties = told(EventType.BEFRIEND, "bob", ties=ties)
    ties = told(EventType.FOLLOW, "a1", author=9, ties=ties)
    assert ties == Ties((5, key64("a1")), (key64("bob"),))
    ties = told(EventType.UNFOLLOW, author=5, ties=ties)
    ties = told(EventType.UNFRIEND, "bob", ties=ties)
    assert ties == Ties((key64("a1"),), ())


def test_a_follow_within_an_outcome_counts_and_other_ties_within_one_do_not():
    one = event("u", EventType.WATCH, actions=(EventType.LIKE, EventType.FOLLOW))
    assert tied(NONE, one, 5, 3) == Ties((5,))
    assert tied(NONE, event("u", EventType.WATCH, actions=(EventType.BEFRIEND,)), 5, 3) == NONE


def test_the_oldest_are_forgotten_first_and_a_follow_again_is_new():
    ties = NONE
    for author in (1, 2, 3, 1, 4):
        ties = told(EventType.FOLLOW, author=author, ties=ties)
    assert ties.follows == (3, 1, 4)
    assert told(EventType.FOLLOW, ties=ties) == ties  # a video that is not known has no author
    assert told(EventType.FOLLOW, author=7, most=0) == NONE


def test_a_state_without_ties_keeps_its_size_and_one_with_ties_loses_none():
    core, scorer = Partition(0, replace(CONFIG, ties_kept=64, user_limit=0), make_pool()), FakeScorer()
    events = [event("ann", EventType.OPEN, at=1), event("bob", EventType.OPEN, at=1)]
    events += [
        event("bob", EventType.FOLLOW, number, at=number, video_id=None, other_id=f"a{number}")
        for number in range(1, 9)
    ]
    events += [event("bob", EventType.BEFRIEND, at=50, video_id=None, other_id="cat")]
    effects = core.apply(core.plan([(n, 100, one) for n, one in enumerate(events)]), lambda arm: scorer)
    packed = core.states.pack(list(effects.touched))
    assert len(packed[b"uann"]) == fixed_size(CONFIG.shape)
    again = Partition(0, CONFIG, core.pool)
    again.states.load("bob", packed[b"ubob"], {})
    again.states.load("ann", packed[b"uann"], {})
    ties = again.states.ties[again.states.row("bob")]
    assert ties == Ties(tuple(key64(f"a{number}") for number in range(1, 9)), (key64("cat"),))
    assert again.states.row("ann") not in again.states.ties
    keys, removed = again.states.forget("bob")
    assert (removed["follows"], removed["friends"]) == (8, 1)
    assert not again.states.ties
    assert b"ubob" in keys


def test_a_follow_without_a_video_makes_no_step_and_no_feedback():
    core, scorer = Partition(0, CONFIG, make_pool()), FakeScorer()
    one = event("ann", EventType.FOLLOW, at=1, video_id=None, other_id="a3")
    effects = core.apply(core.plan([(0, 100, one)]), lambda arm: scorer)
    assert not effects.feedback
    assert not effects.slates
    assert core.states.table["steps"][core.states.row("ann")] == 0
    assert core.states.ties[core.states.row("ann")] == Ties((key64("a3"),))


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "befriend"}, {"type": "unfriend"}, {"type": "unfollow"}, {"type": "follow"},
        {"type": "befriend", "other_id": "u"}, {"type": "befriend", "other_id": ""},
    ],
)  # fmt: skip
def test_a_tie_with_nobody_or_with_oneself_is_refused(fields):
    raw = msgspec.json.encode({"schema": 1, "event_id": "e", "user_id": "u", "event_time_ms": 1, **fields})
    with pytest.raises(BadRecord):
        Decoder(Event)(raw)


def test_ties_travel_in_records():
    one = event("u", EventType.BEFRIEND, video_id=None, other_id="bob")
    assert Decoder(Event)(encode(one)) == one
