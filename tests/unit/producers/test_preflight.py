from __future__ import annotations

import pytest

from producers.preflight import Span, check_now, longer_retention, refusal
from producers.tally import PoolSize
from streams.config import ConfigError
from tests.fakes import video

DAY = 86_400_000


def test_retention_is_raised_when_the_log_would_be_deleted_within_a_day():
    kept = {"retention.ms": str(7 * DAY)}
    assert longer_retention(kept, age_ms=6 * DAY, keep_ms=7 * DAY) is None
    assert longer_retention(kept, age_ms=6 * DAY + 1, keep_ms=7 * DAY) == 13 * DAY + 1
    assert longer_retention(kept, age_ms=1600 * DAY, keep_ms=3_600_000) == 1601 * DAY
    assert longer_retention({"retention.ms": "-1"}, age_ms=1600 * DAY, keep_ms=DAY) is None


def test_a_topic_that_restamps_or_refuses_old_records_is_refused():
    assert (
        refusal({"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(2**63 - 1)}, DAY) == ""
    )
    assert "needs the log's own times" in refusal({"message.timestamp.type": "LogAppendTime"}, DAY)
    assert "refuses records older" in refusal({"message.timestamp.before.max.ms": "5"}, DAY)


@pytest.fixture
def pool():
    return PoolSize([video(number) for number in range(3)], fresh_ms=30 * DAY, capacity=10)


def test_a_topic_whose_time_has_passed_the_videos_is_refused_unless_forced(pool):
    span, told = Span(10 * DAY, 12 * DAY), []
    with pytest.raises(ConfigError, match=r"up to 1970-02-20 .* 3 of this log's 3 videos .* FRESHLOOP_TOPIC_PREFIX"):
        check_now(50 * DAY, span, pool, force=False, say=told.append)
    check_now(50 * DAY, span, pool, force=True, say=told.append)
    assert len(told) == 1


def test_a_topic_that_holds_the_same_log_is_only_remarked_upon(pool):
    span, told = Span(10 * DAY, 12 * DAY), []
    check_now(-1, span, pool, force=False, say=told.append)
    check_now(10 * DAY, span, pool, force=False, say=told.append)
    assert told == []
    check_now(12 * DAY, span, pool, force=False, say=told.append)
    assert "stays there until the log passes it" in told[0]
