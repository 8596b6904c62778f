"""The `models` topic over kafka-python: all of it as of now, and sending pieces to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from kafka import KafkaProducer

from model.config import model_config
from model.publish import Piece
from model.registry import Registry
from model.signature import signing_key
from streams.config import Settings
from streams.reading import read_topic
from streams.security import kafka_options, refusals_said
from streams.topics import Topics

TIMEOUT_S = 30.0
_LARGEST = 4 << 20  # a chunk is 0.9 MB, and the topic takes 2 MB


@dataclass(frozen=True)
class Snapshot:
    """What the topic holds.

    Attributes:
      registry: fed with all of it; every version is in memory.
      values: the last value of each key that has one.
      refusals: what the registry refused, oldest first.
    """

    registry: Registry
    values: dict[bytes, bytes] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)

    def pieces(self, version: int) -> list[Piece]:
        """Return the records of one version as the topic holds them, the manifest last."""
        prefix = f"{self.registry.name}/{version}/".encode()
        found = [Piece(key, value) for key, value in self.values.items() if key.startswith(prefix)]
        return sorted(found, key=lambda piece: piece.key.endswith(b"/manifest"))


def read(settings: Settings) -> Snapshot:
    """Read the topic from its beginning to its present end.

    Raises:
      ConfigError: the cluster does not answer in time.
    """
    found = Snapshot(Registry(settings.model_name, model_config(settings), kept=1 << 30, key=signing_key(settings)))
    for record in read_topic(settings, Topics(settings).models, 1, check_crcs=False):  # weights have their hash
        _take(found, record.key or b"", record.value)
    return found


def _take(found: Snapshot, key: bytes, value: bytes | None) -> None:
    refused = found.registry.feed(key, value)
    if refused:
        found.refusals.append(refused)
    if value is None:
        found.values.pop(key, None)
    else:
        found.values[key] = value


def connect(settings: Settings) -> KafkaProducer:
    """Return a producer for chunks of weights; a record counts once all replicas have it."""
    return KafkaProducer(**kafka_options(settings), acks="all", max_request_size=_LARGEST, linger_ms=0)


def deliver(producer: KafkaProducer, topic: str, pieces: Sequence[Piece]) -> None:
    """Send pieces and wait until all replicas have them.

    Raises:
      KafkaError: one was not acknowledged in time.
    """
    sent = [producer.send(topic, key=piece.key, value=piece.value, partition=0) for piece in pieces]
    for future in sent:
        future.get(timeout=TIMEOUT_S)


def send(settings: Settings, batches: Sequence[Sequence[Piece]]) -> None:
    """Send pieces; each batch is acknowledged by all replicas before the next is sent.

    Raises:
      ConfigError: one was not acknowledged; what the batches before it say holds.
    """
    topic = Topics(settings).models
    with refusals_said(settings), closing(connect(settings)) as producer:
        for batch in batches:
            deliver(producer, topic, batch)
