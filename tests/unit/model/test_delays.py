from hypothesis import given
from hypothesis import strategies as st

from model.delays import NEVER, Boundary, Queue, period
from model.inputs import Exposure


def event(at_ms, user=1):
    return Exposure(user, 3, at_ms, True, True, 0, 1.0, True)


def test_an_event_is_hidden_until_the_boundary_after_it():
    queue = Queue(60_000)
    queue.add(event(59_999))
    queue.add(event(60_000))  # a boundary begins a period: this one waits for the next
    assert not list(queue.visible(59_999))
    assert [one.time_ms for one in queue.visible(60_000)] == [59_999]
    assert not list(queue.visible(119_999))
    assert [one.time_ms for one in queue.visible(120_000)] == [60_000]


def test_a_user_waits_while_one_of_its_events_is_hidden():
    queue = Queue(1_000)
    queue.add(event(10, user=1))
    queue.add(event(20, user=1))
    assert queue.waits(1)
    assert not queue.waits(2)
    assert len(list(queue.visible(1_000))) == 2
    assert not queue.waits(1)


def test_never_is_never():
    queue = Queue(NEVER)
    queue.add(event(10))
    assert not list(queue.visible(10**15))
    assert queue.waits(1)
    assert not Boundary(NEVER, 0).passed(10**15)


def test_a_boundary_is_told_once():
    boundary = Boundary(1_000, 1_500)
    assert [boundary.passed(at) for at in (1_999, 2_000, 2_001, 5_000, 4_000, 5_999)] == [0, 1, 0, 1, 0, 0]


@given(st.lists(st.integers(0, 10_000), max_size=30).map(sorted), st.integers(1, 3_000), st.integers(0, 12_000))
def test_what_is_visible_happened_before_the_newest_boundary(times, every, now):
    queue = Queue(every)
    known = [at for at in times if at <= now]
    for at in known:
        queue.add(event(at))
    boundary = period(now, every) * every
    assert [one.time_ms for one in queue.visible(now)] == [at for at in known if at < boundary]
