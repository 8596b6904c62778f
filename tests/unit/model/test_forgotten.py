"""The trainer's store loses an erased user, and feedback of earlier events does not bring it back."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from model.catalogue import Catalogue
from model.examples import Examples, Limits
from model.forgotten import Forgotten
from streams.codecs import encode
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.erasure import Erasure, mark_of
from streams.core.events import Feedback
from tests.versions import clip, manifest


def feedback(user, offset, video="v1"):
    return Feedback(
        impression_id=f"{user}-{offset}", user_id=user, video_id=video, revision=0, offset=offset, event_time_ms=5,
        impression_ms=5, outcome="watch", label=0.5, behaviour=[0.5] * BEHAVIOUR_SIZE,
    )  # fmt: skip


def erasure(user, offset, at=0, receipt="r" * 32):
    made = Erasure(mark=mark_of(user).hex(), receipt=receipt, partition=0, offset=offset, at_ms=9)
    return SimpleNamespace(offset=at, value=encode(made))


def filled(*users):
    store = Examples(Catalogue(), Limits(users=50, steps=8, examples=100))
    store.catalogue.add([clip(1)])
    for offset in range(5):
        for user in users:
            store.add(feedback(user, offset))
    return store


def test_steps_and_examples_of_the_user_go_and_those_of_others_stay():
    store = filled("ann", "bob")
    row = store.row_of("ann")
    store.learned(np.flatnonzero(store.arrival >= 0)[:4])
    forgotten = Forgotten()
    _, removed = forgotten.take(erasure("ann", 10), store)
    assert removed == {"steps": 5, "examples": 5}
    assert store.user_ids == ["bob"]
    assert store.kept == 5
    assert set(store.user[store.arrival >= 0].tolist()) == {store.row_of("bob")}
    assert not store.step_behaviour[row].any()
    assert all(store.arrival[slot] >= 0 for slot in store.fresh)
    assert forgotten.covers(feedback("ann", 10))
    assert not forgotten.covers(feedback("ann", 11))
    assert not forgotten.covers(feedback("bob", 3))


def test_a_newcomer_takes_the_row_and_nothing_of_what_was_in_it():
    store = filled("ann", "bob")
    row = store.row_of("ann")
    Forgotten().take(erasure("ann", 10), store)
    store.add(feedback("cho", 11))
    assert store.row_of("cho") == row
    assert store.step_count[row] == 1
    slots = np.flatnonzero(store.arrival >= 0)
    assert len(store.usable(slots)) == len(slots) == 6


def test_an_erasure_seen_again_says_nothing_new():
    store, forgotten = filled("ann"), Forgotten()
    assert forgotten.take(erasure("ann", 10), store) is not None
    assert forgotten.take(erasure("ann", 10, at=1), store) is None
    assert forgotten.count == 1


def test_a_manifest_names_those_that_no_earlier_one_left_out():
    store, forgotten = filled("ann", "bob"), Forgotten()
    forgotten.take(erasure("ann", 10, at=0, receipt="a" * 32), store)
    first = forgotten.note(manifest(1))
    assert (first.erased, first.erased_through, first.excluded) == (1, 1, ("a" * 32,))
    forgotten.said(first)
    forgotten.take(erasure("bob", 11, at=1, receipt="b" * 32), store)
    second = forgotten.note(manifest(2))
    assert (second.erased, second.excluded) == (2, ("b" * 32,))

    again = Forgotten()  # as after a restart, with version 2 in service
    for record in (erasure("ann", 10, at=0), erasure("bob", 11, at=1)):
        again.take(record, store)
    again.said(second)
    assert again.note(manifest(3)).excluded == ()
