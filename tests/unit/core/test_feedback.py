import numpy as np

from streams.core.behaviour import label_of, labels_of
from streams.core.events import EventType, Source
from streams.core.feedback import Join, close, feedback_of, outcome, prune, show
from tests.fakes import event


def impression(at=0, position=0):
    return event(kind=EventType.IMPRESSION, number=1, at=at, slate_id="0-7", position=position)


def act(kind=EventType.WATCH, at=0, position=0, **fields):
    return event(kind=kind, number=1, at=at, slate_id="0-7", position=position, **fields)


def join(pending, what, now):
    verdict, joined = outcome(pending, what, offset=9, now_ms=now, duration_ms=10_000, window_ms=100)
    return verdict, joined and feedback_of(joined, "u", "online", [1.0])


def provisional(pending, offset, due_ms):
    return [feedback_of(joined, "u", "online", []) for joined in close(pending, offset, due_ms)]


def test_outcome_within_the_window_is_the_first_revision():
    pending = []
    entry = show(pending, impression(), 0)
    entry.model_version, entry.propensity = 3, 0.01
    verdict, record = join(pending, act(watch_ms=5_000), 100)
    assert (verdict, record.revision, record.label, record.late) == (Join.JOINED, 0, 0.25, False)
    assert (record.model_version, record.propensity) == (3, 0.01)


def test_no_outcome_becomes_a_provisional_record_once():
    pending = []
    show(pending, impression(), 0)
    assert provisional(pending, 1, -1) == []
    (record,) = provisional(pending, 1, 0)
    assert (record.provisional, record.label, record.stepped) == (True, 0.0, False)
    assert provisional(pending, 2, 50) == []


def test_a_late_outcome_corrects():
    pending = []
    show(pending, impression(), 0)
    close(pending, 1, 0)
    verdict, record = join(pending, act(watch_ms=10_000), 101)
    assert (verdict, record.revision, record.late, record.label) == (Join.LATE, 1, True, 0.5)


def test_a_like_after_the_watch_raises_the_label():
    pending = []
    show(pending, impression(), 0)
    join(pending, act(watch_ms=10_000), 10)
    _, record = join(pending, act(EventType.LIKE), 20)
    assert (record.revision, record.label) == (1, 1.0)


def test_a_purchase_is_the_best_there_is():
    pending = []
    show(pending, impression(), 0)
    _, record = join(pending, act(watch_ms=2_000), 10)
    assert record.label == 0.1
    _, record = join(pending, act(EventType.PURCHASE), 20)
    assert (record.revision, record.outcome, record.label) == (1, "purchase", 1.0)
    _, record = join(pending, act(EventType.HIDE), 30)
    assert record.label == 0.0


def test_entering_a_room_counts_as_a_whole_watch():
    _, record = join([], act(EventType.LIVE_ENTER), 0)
    assert (record.outcome, record.label) == ("live-enter", 0.5)
    _, record = join([], act(EventType.LIVE_ENTER, actions=(EventType.LIKE,)), 0)
    assert record.label == 1.0


def test_labels_of_a_batch_are_those_of_single_ones():
    flags = [0, *(1 << one.code for one in (EventType.LIKE, EventType.HIDE, EventType.PURCHASE, EventType.LIVE_ENTER))]
    masks = np.array([one | other for one in flags for other in flags])
    for ratio in (0.0, 0.3, 2.0):
        singles = [label_of(ratio, mask) for mask in masks.tolist()]
        assert labels_of(np.full(len(masks), ratio), masks).tolist() == singles


def test_hidden_is_nought_whatever_was_watched():
    pending = []
    _, record = join(pending, act(EventType.HIDE, watch_ms=10_000), 0)
    assert record.label == 0.0


def test_the_same_outcome_twice_is_a_duplicate():
    pending = []
    show(pending, impression(), 0)
    join(pending, act(), 1)
    assert join(pending, act(), 2) == (Join.DUPLICATE, None)
    assert show(pending, impression(), 3) is None


def test_outcome_without_impression_is_an_orphan_and_still_published():
    verdict, record = join([], act(watch_ms=0), 1)
    assert (verdict, record.orphan, record.label) == (Join.ORPHAN, True, 0.0)


def test_a_recorded_exposure_is_complete_in_itself():
    pending = []
    logged = event(kind=EventType.WATCH, number=1, watch_ms=20_000, source=Source.LOG, actions=(EventType.LIKE,))
    verdict, record = join(pending, logged, 1)
    assert (verdict, record.impression_id, record.label) == (Join.JOINED, logged.event_id, 1.0)
    assert pending == []


def test_two_positions_of_a_slate_are_two_impressions():
    pending = []
    assert show(pending, impression(position=0), 0)
    assert show(pending, impression(position=1), 0)


def test_pruning_keeps_what_has_no_label():
    pending = []
    show(pending, impression(position=0), 0)
    show(pending, impression(position=1), 0)
    join(pending, act(position=1), 1)
    prune(pending, before_ms=50, keep=10)
    assert [entry.position for entry in pending] == [0]
