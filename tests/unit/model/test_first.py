"""First states: served from rows by profile key, and learned only where steps are known from the first one on."""

import numpy as np
import pytest

from model.batches import BatchShape, batches
from model.catalogue import Catalogue
from model.examples import Examples, Limits
from model.first import FirstStates
from model.serving import NumpyScorer
from model.tables import Table
from model.weights import WeightsError, check, from_bytes, initial, to_bytes
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Feedback
from tests.fakes import video
from tests.versions import SMALL, grown

SHAPE = BatchShape(rows=4, steps=6, examples=8, history=3)
KEYS = (-5, 3, 9)


def told(weights=None):
    rows = np.random.default_rng(1).normal(size=(len(KEYS), SMALL.hidden_size)).astype(np.float32)
    return (weights or grown()) | {"table.profile.keys": np.array(KEYS), "table.profile.rows": rows}


def record(number, user="u", profile=(), steps=True, slate=-1, **fields):
    defaults = {"slate_id": f"k0-{slate}", "position": 0} if slate >= 0 else {}
    return Feedback(
        impression_id=f"i{number}-{user}", user_id=user, video_id="v1", revision=0, offset=number, event_time_ms=0,
        impression_ms=0, stepped=steps, behaviour=[0.0] * BEHAVIOUR_SIZE, profile=profile, **defaults, **fields,
    )  # fmt: skip


def store(*records, **limits):
    catalogue = Catalogue()
    catalogue.add([video(1)])
    found = Examples(catalogue, Limits(**({"users": 10, "steps": 4, "examples": 50, "profile_users": 1} | limits)))
    for one in records:
        found.add(one)
    return found


def windows(found):
    (batch,) = batches(found, np.flatnonzero(found.arrival >= 0), SHAPE)
    return batch


def test_the_first_state_is_the_mean_of_known_rows_through_a_tanh_and_stands_alone():
    weights = told()
    scorer = NumpyScorer(weights, SMALL, 1, 0)
    rows = weights["table.profile.rows"]
    hidden = scorer.first([(-5, 9), (3, 77), (77,), ()])
    np.testing.assert_allclose(hidden[0], np.tanh((rows[0] + rows[2]) / 2), atol=1e-6)
    np.testing.assert_allclose(hidden[1], np.tanh(rows[1]), atol=1e-6)  # what nobody knows does not count
    assert not hidden[2:].any()
    for at, keys in enumerate([(-5, 9), (3, 77), (77,), ()]):
        np.testing.assert_array_equal(scorer.first([keys])[0], hidden[at])


def test_without_rows_everybody_begins_with_nothing():
    assert not NumpyScorer(grown(), SMALL, 1, 0).first([KEYS, ()]).any()


def test_weights_with_and_without_profiles_can_serve_and_half_of_them_cannot():
    assert "table.profile.keys" not in initial(SMALL)
    check(from_bytes(to_bytes(told())), SMALL)
    half = told()
    del half["table.profile.rows"]
    with pytest.raises(WeightsError, match=r"table\.profile\.rows is missing"):
        check(half, SMALL)


def test_a_window_from_the_first_step_on_begins_with_the_profile():
    batch = windows(store(record(5, profile=KEYS), record(6), record(8, user="other")))
    assert batch.profile[:, :3].tolist().count(list(KEYS)) == 1
    assert batch.profile.any(axis=1).sum() == 1
    assert batch.shared.tolist() == list(KEYS)


def test_a_profile_told_before_any_step_counts_too():
    batch = windows(store(record(5, profile=KEYS, steps=False, provisional=True, slate=4), record(7)))
    assert batch.profile.any(axis=1).tolist() == [True, False, False, False]


def test_steps_read_from_the_middle_on_begin_with_nothing():
    assert not windows(store(record(6), record(7))).profile.any()
    many = store(*(record(5 + at, profile=KEYS if not at else ()) for at in range(6)))  # more than four are kept
    assert not windows(many).profile.any()


def test_who_is_forgotten_or_pushed_out_leaves_no_profile_behind():
    found = store(record(5, profile=KEYS), record(6, user="v", profile=KEYS), users=2)
    assert found.shared(np.array(KEYS)).tolist() == list(KEYS)
    found.forget("u")
    found.add(record(7, user="w"))
    found.add(record(8, user="x"))  # pushes v out
    assert not found.profiles
    assert not len(found.shared(np.array(KEYS)))


def test_nothing_is_learned_of_a_word_that_few_have():
    found = store(*(record(5, user=f"u{at}", profile=KEYS[: 1 + (at > 2)]) for at in range(4)), profile_users=3)
    batch = windows(found)
    assert batch.shared.tolist() == [-5]
    first = FirstStates(Table(2, 0.0, np.full(2, 0.1, np.float32), 0.0, 100))
    places = first.places(batch, grow=True)
    assert len(first.table) == 1
    first.update(places, np.ones((4, 2), np.float32), 1, 1.0)
    assert (first.table.sorted()[1] < 0).all()
    assert not first.places(windows(store(record(9, user="z", profile=(3,)))), grow=False).rows.max() >= 0
