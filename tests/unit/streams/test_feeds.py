"""Videos from the topic into the pool, as far as a later look back must find them."""

from __future__ import annotations

from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from streams.clock import Clock
from streams.codecs import encode
from streams.core.pool import FreshPool
from streams.feeds import Feeds
from streams.metrics import WorkerMetrics
from tests.fakes import video


def feeds():
    pool = FreshPool(16, 10**6, 1000)
    bad = []
    metrics = WorkerMetrics(CollectorRegistry())
    made = Feeds(pool, None, metrics, Clock(), lambda record, why: bad.append(why.reason), lambda given: None)
    return pool, made, bad


def told(offset, number, value=...):
    one = video(number)
    bytes_ = encode(one) if value is ... else value
    return SimpleNamespace(
        topic="videos", partition=0, offset=offset, key=one.video_id.encode(), value=bytes_, timestamp=0, headers=()
    )


def known(pool, now=10):
    return {one for one, fresh in zip(pool.ids, pool.fresh(now), strict=False) if fresh}


def test_a_video_that_is_withdrawn_in_the_same_poll_still_has_its_vector():
    pool, made, _ = feeds()
    made.on_videos([told(0, 1), told(1, 2), told(2, 1, None)])
    assert pool.slot("v1") == 0
    assert known(pool) == {"v2"}
    assert made.ends.videos == 3


def test_a_look_back_shows_what_was_there_however_it_was_polled():
    log = [told(0, 1), told(1, 2), told(2, 1, None), told(3, 3), told(4, 2, None), told(5, 2, None), told(6, 4)]
    for size in (1, 2, 3, 7):
        pool, made, _ = feeds()
        for at in range(0, len(log), size):
            made.on_videos(log[at : at + size])
        for end in range(len(log) + 1):
            then, before, _ = feeds()
            for one in log[:end]:
                before.on_videos([one])
            with pool.as_of(end):
                assert pool.size == then.size
                assert list(pool.fresh(10)) == list(then.fresh(10)), (size, end)
                assert pool.slots(["v1", "v4"]).tolist() == then.slots(["v1", "v4"]).tolist()
        assert pool.size == 4


def test_a_video_published_again_is_there_again():
    pool, made, _ = feeds()
    made.on_videos([told(0, 1), told(1, 1, None)])
    made.on_videos([told(2, 1)])
    assert known(pool) == {"v1"}


def test_a_bad_video_leaves_the_one_before_it():
    pool, made, bad = feeds()
    made.on_videos([told(0, 1)])
    made.on_videos([told(1, 1, b"\xc1"), told(2, 2)])
    assert bad == ["not-decodable"]
    assert known(pool) == {"v1", "v2"}


def counts(made):
    names = ("published_to_recommendable", "ended_to_gone")
    return [
        sum(one.value for one in getattr(made._metrics, name).collect()[0].samples if one.name.endswith("_count"))
        for name in names
    ]


def test_delays_are_those_of_what_is_new_and_of_what_ends():
    _, made, _ = feeds()
    made.on_videos([told(0, 1)])
    made.live = True
    made.on_videos([told(1, 1), told(2, 2), told(3, 2)])  # what is heard of again is not new
    assert counts(made) == [1, 0]
    made.on_videos([told(4, 1, None), told(5, 1, None), told(6, 9, None)])  # it ends once; what is not there does not
    made.on_videos([told(7, 1, None), told(8, 2), told(9, 2, None)])
    assert counts(made) == [1, 2]
    made.on_videos([told(10, 3), told(11, 3, None), told(12, 2, None), told(13, 2)])
    assert counts(made) == [1, 2]  # gone before anybody could get it, and there again
