import numpy as np
import pytest

from model.catalogue import Catalogue
from model.examples import Examples, Limits, context_offset
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Feedback
from tests.versions import clip

F = BEHAVIOUR_SIZE


def record(offset, user="u", video="v1", revision=0, impression=None, **fields):
    defaults = {
        "impression_id": impression or f"i{offset}",
        "event_time_ms": 1000 * offset,
        "impression_ms": 1000 * offset,
        "behaviour": (offset / 1024,) * F,
        "label": 0.5,
        "slate_id": f"0-{offset - 1}" if offset else "",
        "position": 0 if offset else -1,
    }
    return Feedback(user_id=user, video_id=video, revision=revision, offset=offset, **(defaults | fields))


def provisional(offset, **fields):
    return record(offset, provisional=True, stepped=False, label=0.0, behaviour=(), **fields)


@pytest.fixture
def store():
    return Examples(catalogue(), Limits(users=3, steps=8, examples=10))


def catalogue():
    found = Catalogue()
    found.add([clip(number) for number in range(40)])
    return found


def offsets(store, user):
    row = store.row_of(user)
    return store.step_offset[row, : store.step_count[row]].tolist()


def test_a_record_is_an_example_and_a_step(store):
    assert store.add(record(5))
    assert store.kept == 1
    assert list(store.fresh) == [0]
    assert offsets(store, "u") == [5]
    assert store.label[0] == np.float32(0.5)
    np.testing.assert_array_equal(store.step_behaviour[store.row_of("u"), 0], np.full(F, 5 / 1024, np.float16))


def test_the_same_impression_and_revision_counts_once(store):
    store.add(record(5))
    assert not store.add(record(5))
    assert (store.kept, store.duplicates, offsets(store, "u")) == (1, 1, [5])


def test_a_later_revision_corrects_the_label_and_adds_its_step(store):
    store.add(provisional(5, impression="i"))
    assert (store.label[0], offsets(store, "u")) == (0.0, [])
    assert store.weight[0] < 1.0
    store.add(record(9, revision=1, impression="i", label=0.75))
    assert (store.kept, store.label[0], store.weight[0], offsets(store, "u")) == (1, 0.75, 1.0, [9])


def test_an_earlier_revision_changes_no_label(store):
    store.add(record(9, revision=1, impression="i", label=0.75))
    store.add(provisional(5, impression="i"))
    assert (store.label[0], offsets(store, "u")) == (0.75, [9])


def test_a_correction_of_what_was_learned_is_new_again(store):
    store.add(provisional(5, impression="i"))
    store.learned(np.array([0]))
    assert not store.fresh
    store.add(record(9, revision=1, impression="i"))
    assert list(store.fresh) == [0]
    assert store.trained[0]


def test_steps_stand_in_order_of_offset_however_they_come(store):
    for offset in (5, 9, 7, 7, 2):
        store.add(record(offset))
    assert offsets(store, "u") == [2, 5, 7, 9]
    inputs = store.step_behaviour[store.row_of("u"), :4, 0]
    np.testing.assert_array_equal(inputs, np.array([2, 5, 7, 9], np.float16) / 1024)


def test_the_context_ends_with_the_offset_in_the_slate_id(store):
    for offset in (2, 5, 7):
        store.add(record(offset))
    store.add(record(9, slate_id="0-5"))  # watched after 7, but from the slate that 5 triggered
    slots = np.arange(4)
    assert store.steps_before(slots).tolist() == [0, 1, 2, 2]


def test_without_a_slate_the_context_is_all_that_came_before():
    assert context_offset(record(9, slate_id="", position=-1)) == 8
    assert context_offset(record(9, slate_id="aB3-11-5")) == 5
    assert context_offset(record(9, slate_id="odd")) == 8


def test_old_steps_are_dropped_and_contexts_before_them_are_not_used(store):
    for offset in range(1, 10):
        store.add(record(offset))
    kept = offsets(store, "u")
    assert kept == [3, 4, 5, 6, 7, 8, 9]
    usable = store.usable(np.arange(9))
    assert store.context[usable].tolist() == [2, 3, 4, 5, 6, 7, 8]


def test_a_step_from_before_what_was_dropped_stays_out(store):
    for offset in range(1, 10):
        store.add(record(offset, impression=f"i{offset}"))
    store.add(record(1, impression="again"))
    assert offsets(store, "u")[0] == 3


def test_the_oldest_examples_make_room(store):
    for offset in range(1, 13):
        store.add(record(offset, user=f"u{offset % 2}"))
    assert store.kept == 10
    assert sorted(store.context.tolist()) == list(range(2, 12))
    assert len(store.fresh) == 10
    assert not store.add(record(5, user="u1"))
    assert store.add(record(1, user="u1"))  # forgotten, so it is taken for a new one


def test_the_user_heard_of_least_recently_makes_room(store):
    for offset, user in enumerate("abcad", start=1):
        store.add(record(offset, user=user))
    assert store.users == 3
    gone = store.usable(np.arange(5))
    assert 1 not in gone.tolist()  # b's
    assert offsets(store, "a") == [1, 4]
    assert offsets(store, "d") == [5]


def test_an_example_of_an_unknown_video_waits_for_it(store):
    store.add(record(5, video="later"))
    assert store.usable(np.array([0])).tolist() == []
    store.catalogue.add([clip(99, video_id="later")])
    assert store.usable(np.array([0])).tolist() == [0]


def test_replay_draws_only_what_was_learned_from(store):
    for offset in range(1, 7):
        store.add(record(offset), new=offset > 2)
    store.learned(np.array([2, 3]))
    store.add(record(20, revision=1, impression="i3"))  # slot 2 is new again
    rng = np.random.default_rng(0)
    assert sorted(store.replay(10, rng).tolist()) == [0, 1, 3]
    assert len(store.replay(2, rng)) == 2


def test_forgetting_what_a_rejected_version_learned(store):
    store.add(record(1), new=False)
    for offset in range(2, 6):
        store.add(record(offset))
    store.learned(np.array([1, 2]))
    store.forget_trained(after=2)
    assert store.kept == 4
    assert sorted(store.replay(10, np.random.default_rng(0)).tolist()) == [0, 1]
    assert list(store.fresh) == [3, 4]
    assert offsets(store, "u") == [1, 2, 3, 4, 5]  # what happened is no less true


def test_explored_slots_and_outcomes_that_never_came_have_their_weights():
    store = Examples(catalogue(), Limits(examples=10, provisional=0.5, explored=3.0))
    store.add(record(1, propensity=0.9))
    store.add(record(2, propensity=0.001))
    store.add(provisional(3, propensity=0.001))
    assert store.weight[:3].tolist() == [1.0, 3.0, 1.5]


def test_videos_that_nothing_refers_to_are_forgotten_beyond_the_bound():
    store = Examples(catalogue(), Limits(users=3, steps=8, examples=10, videos=20))  # the catalogue has 40
    for offset, video in enumerate(("v3", "v39", "v3", "v7"), start=1):
        store.add(record(offset, video=video))
    known = store.catalogue.features["key"][store.video[:4]].tolist()
    stepped = store.catalogue.features["key"][store.step_video[0, :4]].tolist()
    store.trim_videos()
    assert len(store.catalogue) == 12  # the newest ten, v3 and v7
    assert store.catalogue.features["key"][store.video[:4]].tolist() == known
    assert store.catalogue.features["key"][store.step_video[0, :4]].tolist() == stepped
    assert store.usable(np.arange(4)).tolist() == [0, 1, 2, 3]
    before = len(store.catalogue)
    store.add(record(9, video="v39"))
    store.add(record(10, video="v1"))  # forgotten, so it waits until it is published again
    assert len(store.catalogue) == before + 1
    assert store.usable(np.arange(6)).tolist() == [0, 1, 2, 3, 4]
