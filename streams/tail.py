"""`freshloop tail`: live slates, readable."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from kafka import KafkaConsumer

from streams.codecs import BadRecord, Decoder
from streams.config import Settings
from streams.core.events import Slate
from streams.pseudonyms import pseudonyms
from streams.security import kafka_options
from streams.topics import Topics

_decode = Decoder(Slate)


def slates(settings: Settings, user: str | None, from_start: bool = False) -> Iterator[Slate]:
    """Yield slates as they are published, until closed."""
    consumer = KafkaConsumer(
        Topics(settings).recommendations,
        **kafka_options(settings),
        auto_offset_reset="earliest" if from_start else "latest",
        group_id=None,
    )
    wanted = pseudonyms(settings)(user).encode() if user else None
    try:
        for record in consumer:
            if wanted is not None and record.key != wanted:
                continue
            try:
                yield _decode(record.value)
            except BadRecord:
                continue  # another schema version; `tail` only reads
    finally:
        consumer.close()


def as_text(slate: Slate, top: int = 8) -> str:
    """Return a slate as two readable lines."""
    head = (
        f"[bold]{slate.user_id}[/]  model v{slate.model_version}  after {slate.event_id}  "
        f"{len(slate.items)} of {slate.candidates} fresh videos"
    )
    shown = "  ".join(f"{item.video_id} {item.score:.2f}{'?' if item.explored else ''}" for item in slate.items[:top])
    return f"{head}\n    {shown}"


def as_json(slate: Slate) -> str:
    """Return a slate as one line of JSON."""
    return msgspec.json.encode(slate).decode()
