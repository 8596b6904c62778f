"""However feedback comes (twice, late, in any order), the trainer's store ends with the same steps and labels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.batches import BatchShape, batches
from model.examples import Examples, Limits
from tests.unit.model.test_examples import catalogue, provisional, record

SHAPE = BatchShape(rows=3, steps=6, examples=7, history=4)


@st.composite
def streams(draw):
    """Records of three users, each impression with up to three revisions of rising offset, in some order, repeated."""
    truth = []
    offset = 0
    for impression in range(draw(st.integers(1, 12))):
        user = f"u{draw(st.integers(0, 2))}"
        slate = offset
        silent = draw(st.booleans())
        for revision in range(draw(st.integers(1, 3))):
            offset += 1
            made = provisional if silent and not revision else record
            fields = {"user": user, "video": f"v{impression}", "revision": revision, "impression": f"i{impression}"}
            if made is record:
                fields["label"] = draw(st.sampled_from([0.25, 0.5, 1.0]))
            truth.append(made(offset, slate_id=f"0-{slate}", position=0, **fields))
    order = draw(st.permutations(truth))
    again = draw(st.lists(st.sampled_from(truth), max_size=5))
    return truth, [*order, *again]


@given(streams())
def test_the_store_forgets_the_order_in_which_records_came(given_streams):
    truth, arrived = given_streams
    store = Examples(catalogue(), Limits(users=5, steps=64, examples=50))
    for one in arrived:
        store.add(one)
    newest = {}
    for one in truth:
        newest[one.impression_id] = one
    assert store.kept == len(newest)
    slots = np.flatnonzero(store.arrival >= 0)
    assert sorted(store.label[slots].tolist()) == sorted(one.label for one in newest.values())
    before = dict(zip(store.video[slots].tolist(), store.steps_before(slots).tolist(), strict=True))
    for user in {one.user_id for one in truth}:
        own = sorted(one.offset for one in truth if one.user_id == user and one.stepped)
        row = store.row_of(user)
        assert store.step_offset[row, : store.step_count[row]].tolist() == own
        for one in newest.values():
            if one.user_id == user:
                seen = int(one.slate_id.rpartition("-")[2])
                assert before[store.catalogue.index(one.video_id)] == sum(offset <= seen for offset in own)


@given(streams(), st.integers(0, 5))
def test_every_usable_example_is_in_one_batch_with_the_steps_before_it(given_streams, seed):
    _, arrived = given_streams
    store = Examples(catalogue(), Limits(users=5, steps=64, examples=50))
    for one in arrived:
        store.add(one)
    slots = np.flatnonzero(store.arrival >= 0)
    found = []
    for batch in batches(store, slots, SHAPE, np.random.default_rng(seed)):
        assert len(batch.slots) <= SHAPE.examples
        for at, slot in enumerate(batch.slots.tolist()):
            found.append(slot)
            count = int(store.steps_before(np.array([slot]))[0])
            time, row = int(batch.time[at]), int(batch.row[at])
            assert min(count, SHAPE.history) <= time <= min(count, SHAPE.steps)
            user = store.user[slot]
            expected = store.step_video[user, count - time : count]
            np.testing.assert_array_equal(batch.videos[batch.step_video[:time, row] - 1], expected)
            assert batch.videos[batch.video[at] - 1] == store.video[slot]
    assert sorted(found) == slots.tolist()
