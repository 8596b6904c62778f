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
from streams.reading import read_until
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
        _begin(consumer, topics, settings, from_start, marks)
        for record in consumer:
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


def _begin(consumer: Any, topics: Topics, settings: Settings, from_start: bool, marks: dict[str, str] | None) -> None:
    """Let a consumer go on with slates from now on, or from the oldest, and with videos from where they end now."""
    name, videos = topics.recommendations, TopicPartition(topics.videos, 0)
    partitions = [TopicPartition(name, number) for number in sorted(consumer.partitions_for_topic(name) or ())]
    offsets = consumer.beginning_offsets(partitions) if from_start else consumer.end_offsets(partitions)
    if marks is not None:
        consumer.assign([videos])
        consumer.seek_to_beginning(videos)
        for record in read_until(consumer, consumer.end_offsets([videos]), settings):
            _mark(marks, record)
        offsets |= {videos: consumer.position(videos)}
    consumer.assign([*offsets])
    for tp, offset in offsets.items():
        consumer.seek(tp, offset)


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
