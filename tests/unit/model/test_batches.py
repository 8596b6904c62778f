import numpy as np
import pytest

from model.batches import BatchShape, batches, windows
from model.examples import Examples, Limits
from tests.unit.model.test_examples import catalogue, record

SHAPE = BatchShape(rows=4, steps=6, examples=8, history=3)


@pytest.fixture
def store():
    found = Examples(catalogue(), Limits(users=10, steps=32, examples=100))
    for offset in range(30):
        found.add(record(offset, user=f"u{offset % 3}", video=f"v{offset % 7}", label=offset / 32))
    return found


def everything(store):
    return np.flatnonzero(store.arrival >= 0)


def test_every_example_stands_in_one_batch_and_no_batch_overflows(store):
    found = list(batches(store, everything(store), SHAPE, np.random.default_rng(0)))
    assert sorted(slot for batch in found for slot in batch.slots.tolist()) == list(range(30))
    assert all(len(batch.slots) <= SHAPE.examples for batch in found)
    assert all(batch.row.max() < SHAPE.rows and batch.time.max() <= SHAPE.steps for batch in found)


def test_a_window_gives_every_example_its_history(store):
    for window in windows(store, everything(store), SHAPE):
        assert window.end - window.start <= SHAPE.steps
        for slot, time in zip(window.slots, window.times, strict=True):
            before = int(store.steps_before(np.array([slot]))[0])
            assert window.start + time == before
            assert time >= min(SHAPE.history, before)


def test_steps_before_an_example_are_the_users_own_in_order(store):
    for batch in batches(store, everything(store), SHAPE):
        for at, slot in enumerate(batch.slots.tolist()):
            offset = slot  # one record each, in order
            time, row = batch.time[at], batch.row[at]
            expected = list(range(offset % 3, offset, 3))[-time or 30 :]
            found = batch.behaviour[:time, row, 0] * 1024
            assert found.tolist() == expected
            videos = store.catalogue.features["key"][batch.videos[batch.step_video[:time, row] - 1]]
            assert videos.tolist() == [store.catalogue.features["key"][one % 7] for one in expected]
            assert batch.videos[batch.video[at] - 1] == store.video[slot]


def test_padding_has_no_weight_and_no_video(store):
    (batch,) = batches(store, np.array([0, 4, 8]), SHAPE)
    assert (batch.weight > 0).tolist() == [True] * 3 + [False] * 5
    assert batch.step_video[:, 3].tolist() == [0] * SHAPE.steps
    assert (batch.behaviour[:, 3] == 0).all()


def test_a_step_on_a_video_that_is_not_known_has_behaviour_and_no_video(store):
    store.add(record(30, video="unknown"))
    store.add(record(33, video="v1"))
    (batch,) = batches(store, np.array([31]), SHAPE)
    time = batch.time[0]
    assert batch.step_video[time - 1, 0] == 0
    assert batch.behaviour[time - 1, 0, 0] == np.float32(30 / 1024)


def test_the_seed_decides_the_order(store):
    def order(seed):
        found = batches(store, everything(store), SHAPE, np.random.default_rng(seed))
        return [slot for batch in found for slot in batch.slots.tolist()]

    assert order(1) == order(1) != order(2)


def test_an_empty_set_has_no_batch(store):
    assert list(batches(store, np.zeros(0, np.int64), SHAPE)) == []


def test_windows_follow_the_recent_steps_that_states_are_made_of():
    assert BatchShape.remembering(20) == BatchShape()
    assert BatchShape.remembering(64) == BatchShape(rows=32, steps=64, history=40)
    for recent in range(1, 256):
        shape = BatchShape.remembering(recent)
        assert recent <= shape.steps <= max(32, recent)
        assert 0 < shape.history < shape.steps
        assert shape.rows * shape.steps <= 64 * 32
        assert Limits.remembering(shape.steps).steps * 3 // 4 >= shape.steps  # when the oldest quarter is dropped
