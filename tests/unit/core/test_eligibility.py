import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.eligibility import CLOSED, Ages, Change, Window, window_of
from streams.core.events import EventType, Kind, Video
from streams.core.layout import StateShape
from streams.core.pool import FreshPool
from streams.core.ranking import Policy
from streams.core.step import Partition, StepConfig
from tests.fakes import FakeScorer, event

AGES = Ages(video_ms=1000, product_ms=9000, live_ms=30)
NOW = 500


def item(number=1, kind=Kind.LIVE, published_ms=100, **fields):
    return Video(video_id=f"i{number}", author_id="a", published_ms=published_ms, kind=kind, **fields)


@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({"kind": Kind.VIDEO}, Window(0, 1100, 1100)),
        ({"kind": Kind.VIDEO, "stock": 0, "ended": True}, Window(0, 1100, 1100)),  # says nothing of a video
        ({"kind": Kind.PRODUCT}, Window(0, 9100, 9100)),
        ({"kind": Kind.PRODUCT, "stock": 1}, Window(0, 9100, 9100)),
        ({"kind": Kind.PRODUCT, "stock": 0}, CLOSED),
        ({}, Window(0, 530, 1500)),  # open for as long as it is heard of
        ({"starts_ms": 510}, Window(510, 530, 1500)),
        ({"starts_ms": 700}, Window(700, 700, 1500)),  # not yet, and not in this window
        ({"ends_ms": 520}, Window(0, 520, 1500)),
        ({"ends_ms": 800}, Window(0, 530, 1500)),
        ({"ends_ms": 500}, CLOSED),
        ({"ended": True}, CLOSED),
        ({"ended": True, "ends_ms": 900}, CLOSED),
    ],
)
def test_windows_by_kind(fields, window):
    assert window_of(item(**fields), NOW, AGES) == window


def test_a_kind_without_an_age_is_never_open():
    for kind in Kind:
        assert window_of(item(kind=kind), NOW, Ages(0, 0, 0)) == CLOSED


def test_a_sold_out_product_comes_back_with_new_stock():
    pool = FreshPool(4, AGES, 10)
    for stock, there in ((3, True), (0, False), (2, True), (None, True)):
        pool.take([Change("i1", item(kind=Kind.PRODUCT, stock=stock), heard_ms=NOW)])
        assert pool.fresh(NOW).tolist() == [there]
        assert pool.is_closed("i1") is not there
        assert pool.count(np.array([NOW])).tolist() == [int(there)]


def test_a_room_leaves_when_nothing_is_heard_of_it_and_comes_back():
    pool = FreshPool(4, AGES, 10)
    pool.take([Change("i1", item(), heard_ms=500)])
    assert [bool(pool.fresh(now)[0]) for now in (499, 529, 530)] == [True, True, False]
    pool.take([Change("i1", item(viewers=7), heard_ms=600)])
    assert pool.fresh(629).tolist() == [True]


def test_open_items_are_counted_by_kind():
    pool = FreshPool(8, AGES, 10)
    for number, kind in enumerate([Kind.LIVE, Kind.PRODUCT, Kind.PRODUCT, Kind.VIDEO]):
        pool.take([Change(f"i{number}", item(number, kind), heard_ms=NOW)])
    assert pool.by_kind(NOW) == {"video": 1, "product": 2, "live": 1}
    assert pool.by_kind(2000) == {"video": 0, "product": 2, "live": 0}


def test_a_record_that_only_counts_viewers_is_not_encoded_again():
    pool, scorer = FreshPool(4, AGES, 10), FakeScorer()
    pool.encoded(scorer)
    seen = []
    encode = scorer.encode
    scorer.encode = lambda videos, known=(): seen.extend(videos) or encode(videos)
    pool.take([Change("i1", item(), heard_ms=1)])
    pool.take([Change("i1", item(viewers=7), heard_ms=2), Change("i1", item(ended=True), heard_ms=3)])
    assert len(seen) == 1
    pool.take([Change("i1", item(title="Now with cats"), heard_ms=4)])
    assert len(seen) == 2


def test_a_room_that_is_on_air_is_not_the_first_to_go_from_a_full_pool():
    pool = FreshPool(2, AGES, 10)
    pool.take([Change("i1", item(1), heard_ms=500), Change("i2", item(2, Kind.VIDEO), heard_ms=500)])
    pool.take([Change("i3", item(3, Kind.VIDEO, 300), heard_ms=500)])
    assert pool.slot("i2") == -1
    assert pool.slot("i1") == 0


kinds = st.sampled_from(list(Kind))
times = st.none() | st.integers(0, 60)
records = st.builds(
    lambda number, kind, published, gone, heard, **fields: (
        f"i{number}", None if gone else item(number, kind, published, **fields), heard
    ),
    st.integers(0, 5), kinds, st.integers(0, 40), st.sampled_from([False, False, False, True]), st.integers(0, 60),
    stock=st.sampled_from([None, 0, 5]), starts_ms=times, ends_ms=times, ended=st.sampled_from([False, False, True]),
)  # fmt: skip


def fed(log, cuts=()):
    pool = FreshPool(8, Ages(30, 45, 15), 10)
    changes = [Change(video_id, video, offset, heard) for offset, (video_id, video, heard) in enumerate(log)]
    for begin, end in zip([0, *cuts], [*cuts, len(changes)], strict=True):
        pool.take(changes[begin:end])
    return pool


@given(st.lists(records, max_size=30), st.lists(st.integers(0, 30), max_size=4), st.data())
def test_a_look_back_sees_who_was_open_however_it_was_polled(log, cuts, data):
    cuts = sorted(cut for cut in cuts if cut <= len(log))
    pool, end = fed(log, cuts), data.draw(st.integers(0, len(log)))
    then = fed(log[:end])
    with pool.as_of(end):
        assert pool.size == then.size
        for now in range(0, 110, 3):
            assert pool.fresh(now).tolist() == then.fresh(now).tolist()


@given(st.lists(records, max_size=30), st.lists(st.integers(0, 110), min_size=1, max_size=9))
def test_the_census_says_what_a_look_at_every_slot_would(log, moments):
    pool = fed(log)
    found = [column.tolist() for column in pool.ages(np.array(moments))]
    for at, now in enumerate(moments):
        published = pool.published_ms[: pool.size][pool.fresh(now)].tolist()
        assert [column[at] for column in found] == [max(published, default=0), min([*published, now]), len(published)]
    slots = np.arange(pool.size)
    for now in moments:
        assert pool.windows.are_open(slots, now).tolist() == pool.fresh(now).tolist()


def test_a_room_may_be_shown_again_unless_it_was_hidden():
    pool = FreshPool(8, 10**9, 10)
    pool.take(
        [Change(f"i{n}", item(n, kind, 0), heard_ms=0) for n, kind in enumerate([Kind.LIVE, Kind.LIVE, Kind.VIDEO])]
    )
    core = Partition(0, StepConfig(Policy(size=3, minimum=3, exploration=0.0), StateShape(8, 5, 16)), pool)
    scorer = FakeScorer()

    def slate(number, kind, target):
        what = event("u", kind, at=number, video_id=target, event_id=str(number))
        core.states.rows(["u"])
        return set(core.apply(core.plan([(number, number, what)]), lambda arm: scorer).slates[-1].video_ids)

    assert slate(1, EventType.OPEN, None) == {"i0", "i1", "i2"}
    assert slate(2, EventType.WATCH, "i2") == {"i0", "i1"}
    assert slate(3, EventType.WATCH, "i0") == {"i0", "i1"}
    assert slate(4, EventType.LIVE_ENTER, "i0") == {"i0", "i1"}
    assert slate(5, EventType.HIDE, "i0") == {"i1"}
    assert slate(6, EventType.LIVE_ENTER, "i9") == {"i1"}  # one that is not known yet
    pool.take([Change("i9", item(9, published_ms=0), heard_ms=0)])
    assert slate(7, EventType.OPEN, None) == {"i1", "i9"}
