"""Whatever cannot be an event becomes a dead letter with its reason and its bytes, and its neighbours go on."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from streams.codecs import encode
from streams.core.events import EventType
from streams.intake import TICK, take_in
from streams.letter_parts import MAX_LETTER_BYTES
from tests.fakes import event


def record(value, key=b"u", offset=7, headers=()):
    return SimpleNamespace(
        topic="events", partition=2, offset=offset, timestamp=1_000, key=key, value=value, headers=headers
    )


def packed(**changes):
    fields = {
        "schema": 1, "event_id": "e", "user_id": "u", "type": "watch", "event_time_ms": 5, "video_id": "v",
        "watch_ms": 10, "source": "organic",
    }  # fmt: skip
    fields.update(changes)
    return msgspec.msgpack.encode({name: value for name, value in fields.items() if value is not ...})


BROKEN = {
    "not messagepack": (b"\xc1\x00\x01", "not-decodable"),
    "not json": (b'{"event_id": "e", ', "not-decodable"),
    "missing field": (packed(event_time_ms=...), "invalid"),
    "wrong type": (packed(event_time_ms="soon"), "invalid"),
    "bool for int": (packed(watch_ms=True), "invalid"),
    "nan watch time": (packed(watch_ms=float("nan")), "invalid"),
    "infinite watch time": (packed(watch_ms=float("inf")), "invalid"),
    "negative duration": (packed(duration_ms=-1), "invalid"),
    "unknown schema": (packed(schema=99), "schema-version"),
    "empty value": (b"", "empty"),
    "no value": (None, "empty"),
    "noise": (b"\xa5" * 900_000, "too-large"),
    "unknown type": (packed(type="stare"), "invalid"),
    "no video": (packed(video_id=...), "invalid"),
    "position without slate": (packed(position=1), "invalid"),
    "far future": (packed(event_time_ms=10**15), "invalid"),
    "no map": (b"\x91" * 5_000 + b"\x01", "invalid"),
    "deep nesting": (b"\x81\xa1x" + b"\x91" * 5_000 + b"\x01", "not-decodable"),
    "invalid utf-8": (packed().replace(b"watch", b"\xff\xfe\xfd\xfc\xfb"), "not-decodable"),
}


@pytest.mark.parametrize(("value", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_values(value, reason):
    before, after = record(packed(event_id="a"), offset=6), record(packed(event_id="b"), offset=8)
    intake = take_in([before, record(value), after])
    assert [event.event_id for _, _, event in intake.events] == ["a", "b"]
    ((found, letter),) = intake.dead
    headers = dict(letter.headers)
    assert (found, headers["reason"]) == (reason, reason.encode())
    assert letter.value == (value or b"")[:MAX_LETTER_BYTES]
    assert (headers["topic"], headers["partition"], headers["offset"]) == (b"events", b"2", b"7")
    assert (headers.get("cut") == b"900000") == (len(value or b"") > MAX_LETTER_BYTES)


@pytest.mark.parametrize(("key", "reason"), [(None, "null-key"), (b"", "null-key"), (b"other", "key-mismatch")])
def test_keys(key, reason):
    assert [found for found, _ in take_in([record(packed(), key=key)]).dead] == [reason]


def test_json_is_read_like_messagepack():
    one = event("u", EventType.WATCH, 3, at=5)
    as_json = msgspec.json.encode(one)
    intake = take_in([record(encode(one)), record(as_json), record(b"  " + as_json)])
    assert [found for _, _, found in intake.events] == [one, one, one]


def test_unknown_fields_are_passed_over():
    assert take_in([record(packed(color="red"))]).events[0][2].video_id == "v"


def test_a_tick_is_no_event_and_no_dead_letter():
    intake = take_in([record(b"", key=None, headers=TICK)])
    assert intake.events == [(7, 1_000, None)]
    assert not intake.dead


def test_details_and_headers_are_bounded():
    ((_, letter),) = take_in([record(packed(type="x" * 60_000), key=b"u" * 100_000)]).dead
    assert len(letter.key) <= 1024
    assert sum(len(value) for _, value in letter.headers) < 2_000
