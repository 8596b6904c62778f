"""The topics of an installation: what in them names a user, until when it is kept, and compaction now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from streams.admin import admin_client
from streams.changelog import OWNER_KEY
from streams.config import Settings
from streams.forget.needle import Needle
from streams.reading import QUIET_S, read_topic
from streams.security import kafka_options
from streams.topics import TopicSpec

Say = Callable[[str], None]
#: Compaction as soon as the broker looks, of everything, without keeping withdrawals any longer.
_NOW = {
    "segment.ms": "100", "min.cleanable.dirty.ratio": "0.0", "max.compaction.lag.ms": "100",
    "delete.retention.ms": "0", "file.delete.delay.ms": "0",
}  # fmt: skip


@dataclass
class Found:
    """Records of a topic that name a user.

    Attributes:
      newest_ms: record time of the newest of them.
    """

    records: int = 0
    newest_ms: int = 0


def search(settings: Settings, spec: TopicSpec, needle: Needle) -> Found:
    """Read a topic from its beginning to its present end.

    Raises:
      ConfigError: it gives no records.
    """
    found = Found()
    for record in read_topic(settings, spec.name, spec.partitions, check_crcs=False):
        if needle.in_record(record.key, record.value, record.headers or ()):
            found.records += 1
            found.newest_ms = max(found.newest_ms, record.timestamp)
    return found


def kept_until_ms(settings: Settings, topic: str, newest_ms: int) -> int:
    """Return when the last of the records found is gone: its segment is closed, and older than the retention."""
    with admin_client(settings) as client:
        config = _configs(client, topic, ["retention.ms", "segment.ms"], "all")
    return newest_ms + int(config["retention.ms"]) + int(config["segment.ms"])


@contextmanager
def compacting(settings: Settings, topic: str) -> Iterator[None]:
    """Let the broker compact a topic without delay; afterwards its settings are what they were."""
    with admin_client(settings) as client:
        before = _configs(client, topic, list(_NOW), "modified")
        _alter(client, topic, dict(_NOW))
    try:
        yield
    finally:
        back = {name: before.get(name, ("DELETE", None)) for name in _NOW}
        with admin_client(settings) as client:
            _alter(client, topic, back)


def nudge(settings: Settings, spec: TopicSpec) -> None:
    """Write a record that means nothing to each partition of the changelog, so that the segment before it is closed."""
    with closing(KafkaProducer(**kafka_options(settings), acks="all")) as producer:
        for number in range(spec.partitions):
            producer.send(spec.name, key=OWNER_KEY, value=b"compaction", partition=number)
        producer.flush(timeout=QUIET_S)


def _configs(client: Any, topic: str, names: list[str], which: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, names)
    answer = client.describe_configs([resource], config_filter=which)["topic"][topic]
    return {name: str(entry["value"]) for name, entry in answer.items() if name in names}


def _alter(client: Any, topic: str, config: dict[str, Any]) -> None:
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])
