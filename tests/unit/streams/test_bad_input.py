"""The table of docs/bad-input.md, row by row."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from streams.attempts import Attempts
from streams.core.pool import FreshPool
from streams.core.ranking import Policy
from streams.core.state import StateShape
from streams.core.step import Partition, StepConfig
from streams.gathering import Batch
from streams.intake import condemned, take_in
from streams.topics import partition_of_key
from tests.fakes import FakeScorer, video

PARTITIONS, LIMIT = 4, 30
HOME = partition_of_key(b"u", PARTITIONS)
GOOD = {
    "schema": 1, "event_id": "e", "user_id": "u", "type": "watch", "event_time_ms": 5_000, "video_id": "v1",
    "watch_ms": 10_000, "source": "organic",
}  # fmt: skip


def packed(**changes):
    return msgspec.msgpack.encode({name: value for name, value in (GOOD | changes).items() if value is not ...})


def text(**changes):
    return msgspec.json.encode({name: value for name, value in (GOOD | changes).items() if value is not ...})


def record(value, key=b"u", headers=(), partition=HOME, at=2_000):
    return SimpleNamespace(
        topic="events", partition=partition, offset=0, timestamp=at, key=key, value=value, headers=headers
    )


#: By kind: the records in order; the last one's fate is meant.
KINDS = {
    "empty value": [record(b"")],
    "no value": [record(None)],
    "noise": [record(b"\xc1\x00\x01")],
    "JSON cut short": [record(text()[:-20])],
    "more than 64 KiB": [record(b"\xa5" * 65_537)],
    "deep nesting": [record(b"\x81\xa1x" + b"\x91" * 5_000 + b"\x01")],
    "a list": [record(b"\x91\x01")],
    "invalid UTF-8 in a field": [record(packed().replace(b"watch", b"\xff\xfe\xfd\xfc\xfb"))],
    "no key": [record(packed(), key=None)],
    "empty key": [record(packed(), key=b"")],
    "key of another user": [record(packed(), key=b"other")],
    "invalid UTF-8 in the key": [record(packed(), key=b"\xff\xfe")],
    "field missing": [record(packed(event_time_ms=...))],
    "text for a number": [record(packed(event_time_ms="soon"))],
    "number for a text": [record(packed(video_id=7))],
    "true for a number": [record(packed(watch_ms=True))],
    "fraction for a whole number": [record(packed(watch_ms=1.5))],
    "not a number": [record(packed(watch_ms=float("nan")))],
    "infinity": [record(packed(watch_ms=float("inf")))],
    "number beyond 64 bits": [record(text().replace(b"5000", b"%d" % 2**80))],
    "empty id": [record(packed(event_id=""))],
    "id of 129 characters": [record(packed(event_id="x" * 129))],
    "unknown type": [record(packed(type="stare"))],
    "type of another case": [record(packed(type="WATCH"))],
    "unknown schema": [record(packed(schema=99))],
    "unknown fields": [record(packed(colour="red"))],
    "outcome without a video": [record(packed(video_id=...))],
    "position without a slate": [record(packed(position=1))],
    "position 1000": [record(packed(position=1000, slate_id="s-0-1", source="slate"))],
    "profile that says nothing": [record(packed(type="profile"))],
    "profile of 17 words": [record(packed(type="profile", profile=[f"f={n}" for n in range(17)]))],
    "profile word without a field": [record(packed(type="profile", profile=["cats"]))],
    "profile on another type": [record(packed(profile=["f=1"]))],
    "time after 2100": [record(packed(event_time_ms=10**15))],
    "time before 1970": [record(packed(event_time_ms=-1))],
    "watch time of two days": [record(packed(watch_ms=2 * 86_400_000))],
    "time far in the future": [record(packed(event_time_ms=4_000_000_000_000))],
    "time before the last event's": [record(packed()), record(packed(event_id="f", event_time_ms=1))],
    "unknown video": [record(packed(video_id="never published"))],
    "watch time of three durations": [record(packed(watch_ms=30_000))],
    "watch time of a thousand durations": [record(packed(watch_ms=10_000_000))],
    "the same event again": [record(packed()), record(packed())],
    "the same id with another payload": [record(packed()), record(packed(video_id="v2", watch_ms=1))],
    "outcome of a slate that never was": [record(packed(slate_id="s-0-99", position=3, source="slate"))],
    "key on the wrong partition": [record(packed(), partition=(HOME + 1) % PARTITIONS)],
    "headers of 500,000 bytes": [record(packed(), headers=(("x", b"y" * 500_000),))],
    "more events in a minute than the limit": [record(packed(event_id=f"e{n}")) for n in range(LIMIT + 1)],
    "an event that ends the worker twice": [record(packed())],
}


def table():
    lines = Path("docs/bad-input.md").read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {kind: re.sub("`", "", fate) for kind, fate, _ in cells[1:]}


def fate(kind, records, tmp_path):
    """What becomes of the last record, after the others."""
    pool = FreshPool(64, 10**15, 1000)
    pool.add([video(number) for number in range(8)])
    core = Partition(HOME, StepConfig(Policy(size=5), StateShape(8, 20, 64), user_limit=LIMIT), pool)
    scorer = FakeScorer()
    for offset, one in enumerate(records):
        one.offset = offset
        twice = kind == "an event that ends the worker twice" and is_culprit(one, tmp_path)
        intake = condemned(one) if twice else take_in([one], PARTITIONS)
        before = core.states.pack(["u"]) if "u" in core.states else {}
        effects = core.apply(core.plan(intake.events), lambda arm: scorer)
    after = core.states.pack(["u"]) if "u" in core.states else {}
    if intake.dead:
        assert not intake.events
        assert after == before
        return f"dead letter {intake.dead[0][0]}"
    if intake.strays:
        assert not intake.events
        return f"sent on{'' if intake.strays[0][0] == HOME else ', but not home'}"
    for word, found in (("limited", "counted only"), ("duplicate", "duplicate"), ("clipped", "applied, clipped")):
        if effects.counts[word]:
            assert bool(effects.slates or effects.feedback) == (word == "clipped")
            return found
    assert len(effects.slates) == len(effects.feedback) == 1
    return "applied"


def is_culprit(one, tmp_path):
    """Two processes that ended while they applied the record, and the third that asks."""
    batch = Batch(("events", HOME), [one], 0, 1, 0)
    for _ in range(2):
        Attempts(tmp_path / "attempt").begin(batch)
    return Attempts(tmp_path / "attempt").culprit(batch)


def test_the_table_has_these_rows():
    assert list(table()) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gets_what_the_table_says(kind, tmp_path):
    assert fate(kind, KINDS[kind], tmp_path) == table()[kind]


def test_the_table_names_the_limit(make_settings):
    default = make_settings().user_events_per_minute
    assert f"`FRESHLOOP_USER_EVENTS_PER_MINUTE`, {default} unless set" in Path("docs/bad-input.md").read_text("utf-8")
