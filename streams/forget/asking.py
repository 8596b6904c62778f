"""Asks the stream to forget a user, or lets one come back, and waits for the receipts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from msgspec import to_builtins

from streams.clock import Clock
from streams.codecs import BadRecord, Decoder, encode
from streams.config import Settings
from streams.core.erasure import Receipt
from streams.core.events import Event, EventType, Source
from streams.pseudonyms import pseudonyms
from streams.security import kafka_options, refusals_said
from streams.topics import Topics

TIMEOUT_S = 30.0
TRAINER_S = 20.0  # a round of training may be under way
_decode = Decoder(Receipt)


@dataclass
class Asked:
    """What became of a request.

    Attributes:
      receipt: keyed hash of the user, empty until a worker answered.
      partition, offset: of the event that asks.
      parts: receipts by part.
    """

    partition: int
    offset: int
    receipt: str = ""
    parts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether a worker carried it out."""
        return any(one["part"].startswith("worker ") for one in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return asdict(self) | {"done": self.done}


def forget(settings: Settings, user_id: str, wait_s: float, say: Callable[[str], None]) -> Asked:
    """Ask for a user to be forgotten; return once a worker and the trainer said that they did, or time is up.

    Raises:
      ConfigError: the cluster fails.
    """
    topics = Topics(settings)
    with refusals_said(settings), closing(_consumer(settings)) as consumer:
        receipts = TopicPartition(topics.receipts, 0)
        consumer.assign([receipts])
        consumer.seek(receipts, consumer.end_offsets([receipts])[receipts])
        asked = Asked(*_send(settings, topics.events, user_id, EventType.FORGET))
        say(f"asked at {topics.events}-{asked.partition}, offset {asked.offset}; waiting for the receipts")
        _collect(consumer, asked, wait_s)
        return asked


def consent(settings: Settings, user_id: str) -> Asked:
    """Let a user who was forgotten come back, as somebody new.

    Raises:
      ConfigError: the cluster fails.
    """
    with refusals_said(settings):
        return Asked(*_send(settings, Topics(settings).events, user_id, EventType.CONSENT))


def _send(settings: Settings, topic: str, user_id: str, kind: EventType) -> tuple[int, int]:
    """Send the event; return its partition and offset."""
    user = pseudonyms(settings)(user_id)
    event = Event(
        event_id=f"{kind.value}-{uuid.uuid4()}", user_id=user, type=kind, event_time_ms=Clock().now_ms(),
        source=Source.ORGANIC,
    )  # fmt: skip
    with closing(KafkaProducer(**kafka_options(settings), acks="all")) as producer:
        done = producer.send(topic, encode(event), user.encode()).get(timeout=TIMEOUT_S)
    return int(done.partition), int(done.offset)


def _consumer(settings: Settings) -> KafkaConsumer:
    return KafkaConsumer(**kafka_options(settings), group_id=None, enable_auto_commit=False)


def _collect(consumer: Any, asked: Asked, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                deadline = _take(record, asked, deadline)


def _take(record: Any, asked: Asked, deadline: float) -> float:
    """Note a receipt; return until when to wait: not at all once all are there."""
    try:
        found = _decode(record.value)
    except BadRecord:
        return deadline
    if (found.partition, found.offset) != (asked.partition, asked.offset):
        return deadline
    asked.receipt = found.receipt
    asked.parts.append({"part": found.part, "removed": found.removed, "changelog": to_builtins(found.changelog)})
    parts = {one["part"].partition(" ")[0] for one in asked.parts}
    if parts == {"worker", "trainer"}:
        return 0.0
    return min(deadline, time.monotonic() + TRAINER_S) if "worker" in parts else deadline
