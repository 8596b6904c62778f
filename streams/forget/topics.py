"""The topics of an installation: what in them names a user, until when it is kept, and compaction now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from streams.admin import admin_client
from streams.changelog import OWNER_KEY
from streams.config import ConfigError, Settings
from streams.forget.needle import Needle
from streams.security import kafka_options
from streams.topics import TopicSpec

Say = Callable[[str], None]
QUIET_S = 30.0
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
    partitions = [TopicPartition(spec.name, number) for number in range(spec.partitions)]
    with closing(_consumer(settings)) as consumer:
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        heard = time.monotonic()
        while any(consumer.position(tp) < end for tp, end in ends.items()):
            for record in _polled(consumer):
                heard = time.monotonic()
                if needle.in_record(record.key, record.value, record.headers or ()):
                    found.records += 1
                    found.newest_ms = max(found.newest_ms, record.timestamp)
            if time.monotonic() - heard > QUIET_S:
                raise ConfigError(f"topic {spec.name} at {settings.bootstrap} gives no records; try again")
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


def _consumer(settings: Settings) -> Any:
    return KafkaConsumer(
        **kafka_options(settings), group_id=None, enable_auto_commit=False, check_crcs=False,
        auto_offset_reset="earliest", max_poll_records=5000, max_partition_fetch_bytes=4 << 20, fetch_max_wait_ms=100,
    )  # fmt: skip


def _polled(consumer: Any) -> Iterator[Any]:
    for records in consumer.poll(timeout_ms=200).values():
        yield from records


def _configs(client: Any, topic: str, names: list[str], which: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, names)
    answer = client.describe_configs([resource], config_filter=which)["topic"][topic]
    return {name: str(entry["value"]) for name, entry in answer.items() if name in names}


def _alter(client: Any, topic: str, config: dict[str, Any]) -> None:
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])
