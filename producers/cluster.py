"""What the producers ask of a Kafka cluster: offsets, groups, topic settings, and records up to where a topic ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError

from streams.config import Settings
from streams.reading import read_until, reader
from streams.security import kafka_options
from streams.topics import Topics


class Cluster:
    """Questions to a cluster, over one admin client."""

    def __init__(self, settings: Settings) -> None:
        """Args: settings: name the cluster and the workers' group. The admin client connects here."""
        self._settings = settings
        self._admin = KafkaAdminClient(**kafka_options(self._settings), request_timeout_ms=15_000)

    def close(self) -> None:
        """Disconnect."""
        self._admin.close()

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic, in order."""
        found = self._admin.describe_topics([topic])[0]
        return sorted(partition["partition_index"] for partition in found["partitions"])

    def ends(self, topic: str) -> dict[int, int]:
        """Return the offset after the last record, by partition."""
        return {number: found.offset for number, found in self._offsets(topic, OffsetSpec.LATEST).items()}

    def newest_ms(self, topic: str) -> int:
        """Return the largest record timestamp of a topic, -1 when it is empty."""
        return max((found.timestamp for found in self._offsets(topic, OffsetSpec.MAX_TIMESTAMP).values()), default=-1)

    def topic_config(self, topic: str, *names: str) -> dict[str, str]:
        """Return effective settings of a topic."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, list(names))
        answer = self._admin.describe_configs([resource], config_filter="all")["topic"][topic]
        return {name: str(entry["value"]) for name, entry in answer.items()}

    def set_topic_config(self, topic: str, config: Mapping[str, str]) -> None:
        """Change settings of a topic and leave its others."""
        self._admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(config))])

    def workers(self) -> int | None:
        """Return how many workers are in the group; None when the cluster does not say (yet)."""
        group = Topics(self._settings).group
        try:
            return len(self._admin.describe_groups([group])[group]["members"])
        except KafkaError:
            return None

    def committed(self, topic: str) -> dict[int, int]:
        """Return the offsets that the workers' group committed, by partition; empty when the cluster does not say."""
        group = Topics(self._settings).group
        try:
            found = self._admin.list_group_offsets([group])[group]
        except KafkaError:
            return {}
        return {tp.partition: entry.offset for tp, entry in found.items() if tp.topic == topic}

    def consumer(self, starts: Mapping[TopicPartition, int]) -> Any:
        """Return a consumer without a group that stands at the given offsets."""
        consumer = reader(self._settings, check_crcs=False)  # the broker checked them, TCP checks again
        consumer.assign(list(starts))
        for tp, offset in starts.items():
            consumer.seek(tp, offset)
        return consumer

    def read(self, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]) -> Iterator[Any]:
        """Yield the records of a topic between two offsets of each partition (compaction may have left fewer)."""
        earliest = {number: found.offset for number, found in self._offsets(topic, OffsetSpec.EARLIEST).items()}
        wanted = {
            TopicPartition(topic, number): (max(starts.get(number, 0), earliest[number]), end)
            for number, end in ends.items()
            if end > max(starts.get(number, 0), earliest[number])
        }
        if not wanted:
            return
        consumer = self.consumer({tp: start for tp, (start, _) in wanted.items()})
        try:
            yield from read_until(consumer, {tp: end for tp, (_, end) in wanted.items()}, self._settings)
        finally:
            consumer.close()

    def _offsets(self, topic: str, spec: Any) -> dict[int, Any]:
        asked = {TopicPartition(topic, number): spec for number in self.partitions(topic)}
        return {tp.partition: found for tp, found in self._admin.list_partition_offsets(asked).items()}
