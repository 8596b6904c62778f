"""The published schemas say what the code accepts."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from streams.codecs import BadRecord, Decoder
from streams.core.events import Event, EventType, Source, Video
from streams.main import all_records, app
from streams.topics import Topics
from tests.conftest import load_settings

RECORDS = all_records(load_settings())
TYPED = [one for one in RECORDS if one.type is not None]


def test_every_topic_is_described():
    assert {one.topic for one in RECORDS} == {spec.name for spec in Topics(load_settings()).specs()}


@pytest.mark.parametrize("one", TYPED, ids=lambda one: one.name)
def test_examples_are_valid_for_schema_and_code(one):
    schema = one.schema()
    Draft202012Validator.check_schema(schema)
    assert one.examples
    for example, plain in zip(one.examples, one.examples_as_json(), strict=True):
        Draft202012Validator(schema).validate(plain)
        assert Decoder(one.type)(json.dumps(plain).encode()) == msgspec.msgpack.decode(
            msgspec.msgpack.encode(example), type=one.type
        )


def agree(record_type, value):
    schema = next(one for one in TYPED if one.type is record_type).schema()
    try:
        Decoder(record_type)(json.dumps(value).encode())
        accepted = True
    except BadRecord:
        accepted = False
    assert Draft202012Validator(schema).is_valid(value) == accepted, value


ids = st.sampled_from(["v1", "", "x" * 129, None, 7])
times = st.sampled_from([0, 1_795_536_000_000, -1, 9_999_999_999_999, "now", None, 12.5])
schemas = st.sampled_from([1, 2, "1"])
profiles = st.none() | st.lists(
    st.sampled_from(["age=1", "a=b=c", "=", "x=", "=x", "x", "x" * 63 + "=y", 7]), max_size=17
)
events = st.fixed_dictionaries(
    {"event_id": ids, "user_id": st.just("u1"), "event_time_ms": times},
    optional={
        "type": st.sampled_from([*(kind.value for kind in EventType), "shout"]), "video_id": ids, "watch_ms": times,
        "actions": st.lists(st.sampled_from(["like", "sing"]), max_size=2), "slate_id": ids, "schema": schemas,
        "position": st.sampled_from([0, 999, 1000, None]), "source": st.sampled_from([*Source, "air"]),
        "unknown": st.integers(), "profile": profiles, "other_id": ids,
    },
)  # fmt: skip
near = st.builds(
    lambda kind, changes: {"event_id": "e", "user_id": "u", "type": kind, "event_time_ms": 1} | changes,
    st.sampled_from(["watch", "profile", "follow", "unfollow", "befriend", "unfriend"]),
    events,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(events, near, st.sampled_from([{}, []]).map(dict)))
def test_an_event_is_accepted_exactly_when_its_schema_says_so(value):
    agree(Event, value)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {"video_id": ids, "author_id": st.just("a"), "published_ms": times},
        optional={"kind": st.sampled_from(["video", "product", "live", "song"]),
                  "tags": st.lists(st.just("t"), max_size=33),
                  "title": st.sampled_from(["", "x" * 501]), "schema": schemas,
                  "price": st.sampled_from([0, 9.5, -0.01, "9.5", None]),
                  "currency": st.sampled_from(["EUR", "", "eur"]),
                  "stock": st.sampled_from([0, 3, -1, 1.5, None]), "shown_in": st.lists(ids, max_size=2),
                  "starts_ms": times, "ends_ms": times, "ended": st.sampled_from([True, 0]),
                  "viewers": st.sampled_from([0, 7, -1, None])},
    )
)  # fmt: skip
def test_a_video_is_accepted_exactly_when_its_schema_says_so(value):
    agree(Video, value)


def test_the_command_prints_and_writes_them(tmp_path):
    result = CliRunner().invoke(app, ["schemas", "videos", "--out", str(tmp_path)])
    assert json.loads(result.stdout)["videos.video"]["schema"]["title"] == "Video"
    assert json.loads((tmp_path / "videos.video.example.json").read_text())[0]["video_id"] == "v7"
    assert {path.name for path in tmp_path.iterdir()} == {"videos.video.schema.json", "videos.video.example.json"}
