"""Whatever bytes come, every record has one fate and nothing raises; whatever validates can be applied."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.registry import Registry
from streams.codecs import BadRecord, Decoder, encode
from streams.core.events import SOCIAL, Event, EventType, Feedback, Slate, Source, Video
from streams.core.step import Partition
from streams.intake import take_in
from streams.topics import partition_of_key
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG, make_pool
from tests.versions import NAME, SMALL

DECODERS = [Decoder(kind) for kind in (Event, Video, Slate, Feedback)]
GOOD = encode(event("u", at=5, watch_ms=7, duration_ms=9, slate_id="s-0-1", position=2))
AS_JSON = msgspec.json.encode(event("u", at=5, watch_ms=7))

ids = st.text(min_size=1, max_size=128)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
trees = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@st.composite
def almost(draw):
    """An event with a few bytes, or a few fields, changed."""
    if draw(st.booleans()):
        raw = bytearray(draw(st.sampled_from([GOOD, AS_JSON])))
        for at, byte in draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)):
            raw[at] = byte
        return bytes(raw[: draw(st.integers(0, len(raw)))])
    fields = msgspec.msgpack.decode(GOOD) | draw(
        st.dictionaries(st.sampled_from(["schema", *Event.__struct_fields__]), trees, max_size=3)
    )
    return msgspec.msgpack.encode(fields)


values = st.none() | st.binary(max_size=300) | almost()
keys = st.none() | st.just(b"u") | st.binary(max_size=20)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(keys, values), max_size=6))
def test_every_record_has_one_fate(pairs):
    records = [
        SimpleNamespace(topic="events", partition=1, offset=at, timestamp=at, key=key, value=value, headers=())
        for at, (key, value) in enumerate(pairs)
    ]
    intake = take_in(records, 3)
    assert len(intake.events) + len(intake.dead) + len(intake.strays) == len(records)
    assert all(partition_of_key(one.user_id.encode(), 3) == 1 for _, _, one in intake.events)
    assert all(home != 1 for home, _ in intake.strays)
    for _, letter in intake.dead:
        assert sum(len(value) for _, value in letter.headers) < 2_000


@settings(max_examples=300, deadline=None)
@given(values, st.sampled_from(DECODERS))
def test_decoders_raise_nothing_but_bad_record(value, decode):
    with suppress(BadRecord):
        decode(value)


words = st.lists(st.from_regex("[^=\n]{1,20}=[^\n]{1,20}", fullmatch=True), max_size=16)


@st.composite
def valid_events(draw):
    kind = draw(st.sampled_from(list(EventType)))
    in_slate = draw(st.booleans())
    return Event(
        event_id=draw(ids),
        user_id=draw(st.sampled_from(["u", "v", "\x00", "\U0010ffff" * 32])),
        type=kind,
        event_time_ms=draw(st.integers(0, 4_102_444_800_000)),
        video_id=draw(ids | st.sampled_from(["v1", "v2"])),
        watch_ms=draw(st.none() | st.integers(0, 86_400_000)),
        duration_ms=draw(st.none() | st.integers(0, 86_400_000)),
        actions=tuple(draw(st.lists(st.sampled_from(list(EventType)), max_size=3))),
        source=draw(st.sampled_from(list(Source))),
        slate_id=draw(ids | st.sampled_from(["k-0-0", "k-0--1", "k-0-" + "9" * 40])) if in_slate else None,
        position=draw(st.integers(0, 999)) if in_slate else None,
        profile=tuple(draw(words)) if kind is EventType.PROFILE else None,
        other_id=draw(st.sampled_from(["w", "a1"])) if kind in SOCIAL else draw(st.none() | st.just("a1")),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**45), valid_events()), min_size=1, max_size=8))
def test_whatever_validates_can_be_applied_and_stays_finite(arrivals):
    core, scorer = Partition(0, CONFIG, make_pool()), FakeScorer()
    events = [(at, stamp, take_back(one)) for at, (stamp, one) in enumerate(arrivals)]
    effects = core.apply(core.plan(events), lambda arm: scorer)
    effects.slate_pairs(), effects.feedback_pairs()
    core.states.pack(list(effects.touched))
    rows = core.states.rows([one.user_id for _, _, one in events])
    assert np.isfinite(core.states.table["hidden"][rows]).all()
    assert (core.states.table["last_offset"][rows] >= 0).all()


def take_back(one):
    """The event as it comes out of its bytes."""
    return DECODERS[0](encode(one))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=30) | st.sampled_from(
    [f"{NAME}/1/manifest".encode(), f"{NAME}/1/chunk/0".encode(), f"{NAME}/current".encode(), b"../../x/1/manifest"]
), values), max_size=6))  # fmt: skip
def test_a_registry_of_versions_takes_any_record(records):
    registry = Registry(NAME, SMALL)
    for key, value in records:
        registry.feed(key, value)
    assert registry.current() is None
