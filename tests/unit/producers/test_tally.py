from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from producers.tally import Numbers, PoolSize, Progress, Tally
from streams.core.events import Feedback, Slate
from tests.fakes import event, video


def sent(number, user="u"):
    return event(user, event_id=f"r-{number}")


def fed(number, offset=0, **changes):
    record = Feedback(
        impression_id=f"r-{number}", user_id="u", video_id="v", revision=0, offset=offset, event_time_ms=1,
        impression_ms=1,
    )  # fmt: skip
    return msgspec.structs.replace(record, **changes)


def slate(number, candidates=3, user="u", identity=None, made_ms=50):
    return Slate(
        slate_id=identity or f"0-{number}", user_id=user, event_id=f"r-{number}", event_time_ms=1, made_ms=made_ms,
        state_offset=number, model_version=0, trained_through=0, youngest_ms=0, oldest_ms=0, candidates=candidates,
        video_ids=(), scores=(),
    )  # fmt: skip


@pytest.fixture
def tally():
    return Tally("r", PoolSize([video(number) for number in range(3)], fresh_ms=100, capacity=10))


def test_numbers_count_each_once():
    numbers = Numbers()
    assert [numbers.add(value) for value in (5, 0, 5, 100_000, 0)] == [True, True, False, True, False]
    assert len(numbers) == 3
    assert 100_000 in numbers
    assert 7 not in numbers
    assert 10**9 not in numbers


def test_pool_size_follows_expiry_and_capacity():
    size = PoolSize([video(number, published_ms=number * 10) for number in range(4)], fresh_ms=100, capacity=3)
    assert [size.at(now) for now in (0, 99, 100, 110, 130)] == [3, 3, 3, 2, 0]
    assert (size.ended_between(0, 99), size.ended_between(0, 110), size.ended_between(200, 100)) == (0, 2, 0)


def test_an_event_counts_as_applied_once_it_is_stepped_and_committed(tally):
    for number in range(3):
        tally.send(sent(number))
    tally.take_feedback(fed(0, offset=10), partition=0)
    tally.take_feedback(fed(1, offset=11), partition=0)
    tally.take_feedback(fed(2, offset=4), partition=1)
    tally.commit({})
    assert len(tally.confirmed) == 0
    tally.commit({0: 11})
    assert len(tally.confirmed) == 1
    tally.commit({0: 12, 1: 5})
    assert len(tally.confirmed) == 3


def test_feedback_that_did_not_step_confirms_nothing(tally):
    tally.send(sent(0))
    tally.take_feedback(fed(0, stepped=False), partition=0)
    tally.commit({0: 1})
    assert (len(tally.confirmed), len(tally.stepped)) == (0, 1)


def test_a_record_published_again_is_a_duplicate_and_a_correction_is_not(tally):
    tally.send(sent(0))
    for revision in (0, 0, 1, 1, 2):
        tally.take_feedback(fed(0, revision=revision), partition=0)
    assert (len(tally.stepped), tally.feedback_duplicates, len(tally.corrections)) == (1, 2, 2)


def test_slates_count_by_id_and_those_from_a_part_of_the_pool_are_told(tally):
    tally.take_slate(slate(0))
    tally.take_slate(slate(0))
    tally.take_slate(slate(1, candidates=2))
    tally.take_slate(slate(2, candidates=0, made_ms=100))  # by then every video has expired
    assert (len(tally.slates), tally.short_slates, len(tally.users_with_slate)) == (3, 1, 1)


def test_records_of_other_runs_are_not_counted(tally):
    assert not tally.take_slate(msgspec.structs.replace(slate(0), event_id="q-0"))
    assert not tally.take_feedback(fed(0, impression_id="r2-0"), partition=0)
    tally.send(event("u", event_id="other"))
    assert (len(tally.slates), len(tally.stepped), len(tally.sent)) == (0, 0, 0)


def test_a_state_with_a_step_too_many_or_too_few_is_found(tally):
    tally.start_from({"b": Progress(steps=7, last_offset=3)})
    for number, user in enumerate("aab"):
        tally.send(sent(number, user))
    good = {"a": Progress(2, 9), "b": Progress(8, 9), "c": Progress(1, 1)}
    assert tally.users_off(good) == []
    assert tally.users_off(good | {"a": Progress(3, 9)}) == ["a"]
    assert tally.users_off(good | {"b": Progress(7, 3)}) == ["b"]
    assert tally.users_off({"b": Progress(8, 9)}) == ["a"]


def test_events_found_in_the_topic_count_as_steps_only_beyond_the_state(tally):
    tally.start_from({"a": Progress(steps=2, last_offset=5)})
    for number, offset in enumerate((4, 5, 6)):
        tally.send(sent(number, "a"), offset)
    assert tally.users_off({"a": Progress(3, 6)}) == []
    assert tally.users == {"a": 3}


def test_an_event_sent_twice_is_told(tally):
    tally.send(sent(0))
    tally.send(sent(0))
    assert (len(tally.sent), tally.sent_twice, tally.users) == (1, 1, {"u": 1})
    assert replace(tally).sent_twice == 1
