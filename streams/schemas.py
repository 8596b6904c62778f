"""JSON Schema and examples of every topic, made from the structs that the code reads and writes with.

A schema says what a value may be; the values on the wire are MessagePack maps of the same names, and on `events` and
`videos` JSON is read as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streams.core.content import SIZES, VideoContent
from streams.core.erasure import Erasure, Receipt
from streams.core.events import BARE, SOCIAL, DeadLetter, Event, EventType, Feedback, Kind, Record, Slate, Source, Video
from streams.topics import Topics

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class TopicRecord:
    """One kind of record of a topic.

    Attributes:
      topic: its name, with the prefix; `key` says what the record's key is.
      type: the struct; None where the value is bytes of another's format, which `note` names.
      examples: values, the first as small as may be.
      written: by others too (JSON is read), or only by Freshloop.
    """

    topic: str
    key: str
    type: type[Record] | None
    note: str
    examples: Sequence[Record] = ()
    written: bool = False

    @property
    def name(self) -> str:
        """The topic, with the struct where it has several."""
        return self.topic if self.type is None else f"{self.topic}.{self.type.__name__.lower()}"

    def schema(self) -> dict[str, Any] | None:
        """Return its JSON Schema; None where the value is no record."""
        if self.type is None:
            return None
        made = msgspec.json.schema(self.type)
        definition = made["$defs"].pop(self.type.__name__)
        found = {"$schema": DIALECT, **definition, **({"$defs": made["$defs"]} if made["$defs"] else {})}
        if "description" in found:
            found["description"] = "\n".join(line.strip() for line in found["description"].splitlines())
        if self.written:
            found["required"] = [
                name for name in found["required"] if name != "schema"
            ]  # taken as 1 when it is missing
        if self.type is Event:
            found["allOf"] = EVENT_RULES
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
        return plain

    def examples_as_json(self) -> list[Any]:
        """Return the examples as plain JSON values."""
        return [msgspec.json.decode(msgspec.json.encode(example)) for example in self.examples]


_TEXT, _NUMBER, _LIST, _NOTHING = {"type": "string"}, {"type": "integer"}, {"type": "array"}, {"type": "null"}
_IS_PROFILE = {"properties": {"type": {"const": EventType.PROFILE.value}}}
_HAS_VIDEO = {"required": ["video_id"], "properties": {"video_id": _TEXT}}
_HAS_OTHER = {"required": ["other_id"], "properties": {"other_id": _TEXT}}


def _of_type(kinds: Collection[EventType]) -> dict[str, Any]:
    return {"properties": {"type": {"enum": sorted(kind.value for kind in kinds)}}}


#: What `Event.__post_init__` checks beyond the fields; that nobody befriends itself is not said here.
EVENT_RULES: list[dict[str, Any]] = [
    {"anyOf": [_of_type(BARE), _HAS_VIDEO, {"allOf": [_of_type({EventType.FOLLOW}), _HAS_OTHER]}]},
    {"anyOf": [{"not": _of_type(SOCIAL)}, _HAS_OTHER]},
    {"anyOf": [{"not": _of_type({EventType.UNFOLLOW})}, _HAS_VIDEO, _HAS_OTHER]},
    {"anyOf": [{"required": ["slate_id", "position"], "properties": {"slate_id": _TEXT, "position": _NUMBER}},
               {"properties": {"slate_id": _NOTHING, "position": _NOTHING}}]},
    {"anyOf": [{"required": ["profile"], "properties": {**_IS_PROFILE["properties"], "profile": _LIST}},
               {"not": _IS_PROFILE, "properties": {"profile": _NOTHING}}]},
]  # fmt: skip
_AT = 1_795_536_000_000


def topic_records(topics: Topics, more: Iterable[TopicRecord] = ()) -> list[TopicRecord]:
    """Return the records of the stream's topics, and `more` of the other parts'."""
    events = (
        Event(event_id="e1", user_id="u1", type=EventType.OPEN, event_time_ms=_AT),
        Event(
            event_id="e2", user_id="u1", type=EventType.WATCH, event_time_ms=_AT + 9000, video_id="v7", watch_ms=8200,
            duration_ms=12_000, actions=(EventType.LIKE,), slate_id="s-0-41", position=0,
        ),
        Event(
            event_id="e3", user_id="u1", type=EventType.SKIP, event_time_ms=_AT + 11_000, video_id="v9", watch_ms=900,
            source=Source.ORGANIC,
        ),
        Event(
            event_id="e4", user_id="u1", type=EventType.PROFILE, event_time_ms=_AT, source=Source.ORGANIC,
            profile=("age=25-34", "interest=cats", "interest=slow motion"),
        ),
        Event(
            event_id="e5", user_id="u1", type=EventType.BEFRIEND, event_time_ms=_AT, source=Source.ORGANIC,
            other_id="u2",
        ),
        Event(
            event_id="e6", user_id="u1", type=EventType.FOLLOW, event_time_ms=_AT, source=Source.ORGANIC,
            other_id="a3",
        ),
    )  # fmt: skip
    videos = (
        Video(video_id="v7", author_id="a3", published_ms=_AT),
        Video(
            video_id="v8", author_id="a3", published_ms=_AT, duration_ms=12_000, tags=("cats", "slow motion"),
            music_id="m5", title="A cat jumps", media="s3://clips/v8.mp4",
        ),
        Video(
            video_id="p3", author_id="a3", published_ms=_AT, kind=Kind.PRODUCT, tags=("cats",), title="Scratching post",
            price=39.9, currency="EUR", stock=12, shown_in=("v8",),
        ),
        Video(
            video_id="r5", author_id="a3", published_ms=_AT, kind=Kind.LIVE, title="Ask me about cats", viewers=240,
            starts_ms=_AT + 60_000, ends_ms=_AT + 3_660_000,
        ),
    )  # fmt: skip
    content = VideoContent(video_id="v7", version="a1b2c3d4e5f6", videos_offset=41, reason="missing")
    with_media = VideoContent(
        video_id="v8", version="a1b2c3d4e5f6", videos_offset=42, media_hash="9a" * 32, text=bytes(2 * SIZES["text"]),
    )  # fmt: skip
    slate = Slate(
        slate_id="s-0-41", user_id="u1", event_id="e1", event_time_ms=_AT, made_ms=_AT + 4, state_offset=41,
        model_version=3, trained_through=20_000, youngest_ms=_AT - 500, oldest_ms=_AT - 86_400_000, candidates=2,
        video_ids=("v7", "v8"), scores=(0.71, 0.64), explored=(1,), explored_propensity=0.05, propensity=0.9,
    )  # fmt: skip
    feedback = Feedback(
        impression_id="s-0-41:0", user_id="u1", video_id="v7", revision=0, offset=42, event_time_ms=_AT + 9000,
        impression_ms=_AT + 800, outcome="watch", watch_ratio=0.683, label=0.842, slate_id="s-0-41", position=0,
        model_version=3,
    )  # fmt: skip
    receipt = "840bf778e075310c379dc45edb05d20b"
    erasure = Erasure(mark="9a" * 16, receipt=receipt, partition=1, offset=3027, at_ms=_AT)
    proof = Receipt(
        receipt=receipt, part="worker w1", partition=1, offset=3027, at_ms=_AT, removed={"recent_steps": 20},
        changelog=(1, 3406, 3408),
    )  # fmt: skip
    letter = DeadLetter(topic=topics.events, partition=0, offset=43, reason="not-decodable")
    return [
        TopicRecord(topics.events, "`user_id`", Event, "What viewers do.", events, written=True),
        TopicRecord(
            topics.videos, "`video_id`", Video, "Published items; an empty value withdraws the item.", videos, True
        ),
        TopicRecord(
            topics.vectors, "`video_id`", VideoContent, "What videos look, sound and read like.", (content, with_media)
        ),
        TopicRecord(topics.recommendations, "`user_id`", Slate, "Slates, a full one each time.", (slate,)),
        TopicRecord(topics.feedback, "`user_id`", Feedback, "Labelled impressions and their corrections.", (feedback,)),
        TopicRecord(
            topics.dead_letters, "the original's", DeadLetter,
            "The value is the untouched original; these fields are headers, as text.", (letter,),
        ),
        TopicRecord(
            topics.erasures, "`mark`", Erasure, "Users who asked to be forgotten, for parts that keep data.", (erasure,)
        ),
        TopicRecord(topics.receipts, "`receipt`, `part`", Receipt, "What each part removed of them.", (proof,)),
        TopicRecord(
            topics.states, "user or progress", None,
            "Changelog of the user states, in a binary layout of its own (`streams/core/layout.py`); not for others.",
        ),
        *more,
    ]  # fmt: skip
