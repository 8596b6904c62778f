"""A user's state leaves memory only once everything that was packed of it is stored."""

from __future__ import annotations

import pytest

from streams.attempts import Attempts
from streams.core.events import EventType
from streams.core.step import Partition
from streams.owned import OwnedPartition
from streams.state_store import StateStore
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG, make_pool


@pytest.fixture
def owned(tmp_path):
    store = StateStore(tmp_path / "p0")
    yield OwnedPartition(Partition(0, CONFIG, make_pool()), store, None, 0.0, Attempts(tmp_path / "attempt"))
    store.close()


def apply(owned, offset, *users):
    """Apply a batch of one event of each user; return what to store, and the turn that packed it."""
    events = [(at, 1_000, event(user, EventType.WATCH, number=at)) for at, user in enumerate(users, offset)]
    effects, _, _ = owned.apply(events, lambda arm: FakeScorer())
    packed = owned.pack(effects)
    return packed, owned.progress(offset + len(users)), owned.turn


def in_memory(owned):
    return {user for user in "abc" if user in owned.core.states}


def test_users_stay_while_a_later_batch_of_theirs_is_under_way(owned):
    first = apply(owned, 0, "a", "b")
    second = apply(owned, 2, "b", "c")
    owned.written(*first, keep=1)
    assert in_memory(owned) == {"b", "c"}
    owned.written(*second, keep=1)
    assert in_memory(owned) == {"c"}


def test_a_batch_is_stored_with_those_before_it(owned):
    apply(owned, 0, "a", "b")
    owned.written(*apply(owned, 2, "c"), keep=1)
    assert in_memory(owned) == {"c"}


def test_nobody_leaves_while_there_is_room(owned):
    owned.written(*apply(owned, 0, "a", "b", "c"), keep=3)
    assert in_memory(owned) == {"a", "b", "c"}
