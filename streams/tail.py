"""`freshloop tail`: live slates, readable, with what products cost and how many are in live rooms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from rich.markup import escape

from streams.codecs import BadRecord, Decoder
from streams.config import Settings
from streams.core.events import Slate, Video
from streams.explain import about
from streams.explain_view import kind_words
from streams.pseudonyms import pseudonyms
from streams.security import kafka_options
from streams.topics import Topics

_decode = Decoder(Slate)
_decode_video = Decoder(Video)


def slates(
    settings: Settings, user: str | None, from_start: bool = False, marks: dict[str, str] | None = None
) -> Iterator[Slate]:
    """Yield slates as they are published, until closed.

    Args:
      marks: gets what is to be said of products and live rooms, by video_id; None does not read the videos.
    """
    topics = Topics(settings)
    consumer = KafkaConsumer(**kafka_options(settings), group_id=None, auto_offset_reset="earliest")
    wanted = pseudonyms(settings)(user).encode() if user else None
    try:
        begin = _assigned(consumer, topics, marks is not None, from_start)
        for record in _in_turn(consumer, topics.videos, begin):
            if marks is not None and record.topic == topics.videos:
                _mark(marks, record)
                continue
            if wanted is not None and record.key != wanted:
                continue
            try:
                yield _decode(record.value)
            except BadRecord:
                continue  # another schema version; `tail` only reads
    finally:
        consumer.close()


def _assigned(consumer: KafkaConsumer, topics: Topics, with_videos: bool, from_start: bool) -> int:
    """Let a consumer read slates, and all videos; return where the videos end."""
    name = topics.recommendations
    partitions = [TopicPartition(name, number) for number in sorted(consumer.partitions_for_topic(name) or ())]
    videos = [TopicPartition(topics.videos, 0)] if with_videos else []
    consumer.assign([*partitions, *videos])
    (consumer.seek_to_beginning if from_start else consumer.seek_to_end)(*partitions)
    for tp in partitions:
        consumer.position(tp)  # from now on, not from when the videos are read
    return int(consumer.end_offsets(videos)[videos[0]]) if videos else 0


def _in_turn(consumer: KafkaConsumer, videos: str, end: int) -> Iterator[Any]:
    """Yield records; the slates only once the videos are read up to `end`."""
    held: list[Any] | None = [] if end else None
    for record in consumer:
        if held is not None and record.topic == videos and record.offset + 1 >= end:
            yield record
            yield from held
            held = None
        elif held is not None and record.topic != videos:
            held.append(record)
        else:
            yield record


def _mark(marks: dict[str, str], record: Any) -> None:
    try:
        words = kind_words(about(_decode_video(record.value)))
    except BadRecord:
        words = ""
    video_id = (record.key or b"").decode("utf-8", "replace")
    if words:
        marks[video_id] = words
    else:
        marks.pop(video_id, None)


def as_text(slate: Slate, top: int = 8, marks: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a slate as two readable lines."""
    head = (
        f"[bold]{slate.user_id}[/]  model v{slate.model_version}  after {slate.event_id}  "
        f"{len(slate.items)} of {slate.candidates} fresh videos"
    )
    shown = []
    for item in slate.items[:top]:
        mark = f" {escape(marks[item.video_id])}" if item.video_id in marks else ""
        shown.append(f"{item.video_id} {item.score:.2f}{'?' if item.explored else ''}{mark}")
    return f"{head}\n    {'  '.join(shown)}"


def as_json(slate: Slate) -> str:
    """Return a slate as one line of JSON."""
    return msgspec.json.encode(slate).decode()
