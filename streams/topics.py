"""The topics: names, partitions and clean-up; creating them and refusing those that do not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from aiokafka.partitioner import murmur2

from streams.config import Settings

HOUR_MS = 3_600_000
LOOK_BACK_MS = 1_800_000  # records of videos that later ones replace stay so long: a replay sees who was on air then
SEGMENTS = 28  # of a topic kept by time, while it is written to: of a week six hours
STATES_SEGMENT = 64 << 20  # bytes: only closed segments are compacted, and a gigabyte at once takes a core for seconds


@lru_cache(maxsize=1 << 17)
def partition_of_key(key: bytes, partitions: int) -> int:
    """Return the partition of a key: murmur2, as every Kafka client of ours computes it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


@dataclass(frozen=True)
class TopicSpec:
    """What a topic must look like. `config` holds the broker-side settings that matter, as strings."""

    name: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    config: dict[str, str] = field(default_factory=dict)


class Topics:
    """Names of all topics under the configured prefix, and their specifications."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        prefix = settings.topic_prefix
        self.events = f"{prefix}events"
        self.videos = f"{prefix}videos"
        self.vectors = f"{prefix}vectors"  # what videos look, sound and read like
        self.recommendations = f"{prefix}recommendations"
        self.feedback = f"{prefix}feedback"
        self.models = f"{prefix}models"
        self.dead_letters = f"{prefix}dead-letters"
        self.erasures = f"{prefix}erasures"  # who is erased, for those who keep data of users
        self.receipts = f"{prefix}erasure-receipts"
        self.workers = f"{prefix}workers"  # who answers for which partition
        self.group = f"{prefix}{settings.app_id}"  # of the workers
        self.states = f"{prefix}{settings.app_id}-states"  # changelog of the user states of this consumer group

    def specs(self) -> list[TopicSpec]:
        """Specifications of every topic, those keyed by user with equal partition counts."""
        settings = self._settings
        by_time = _kept(settings.events_retention_hours)
        dead = _kept(settings.dead_letters_retention_hours) | {"max.message.bytes": "2097152"}
        changelog = {"segment.ms": "600000", "min.cleanable.dirty.ratio": "0.3", "max.compaction.lag.ms": "3600000"}
        states = changelog | {"segment.bytes": str(STATES_SEGMENT)}
        large = {"max.message.bytes": "2097152"}
        return [
            TopicSpec(self.events, settings.partitions, "delete", by_time | large),
            TopicSpec(self.recommendations, settings.partitions, "delete", by_time),
            TopicSpec(self.feedback, settings.partitions, "delete", by_time),
            TopicSpec(self.states, settings.partitions, "compact", states | large),
            TopicSpec(self.videos, 1, "compact", changelog | {"min.compaction.lag.ms": str(LOOK_BACK_MS)}),
            TopicSpec(self.vectors, 1, "compact", changelog | {"min.compaction.lag.ms": "600000"}),
            TopicSpec(self.models, 1, "compact", changelog | large),
            TopicSpec(self.dead_letters, 1, "delete", dead),
            TopicSpec(self.erasures, 1, "compact", changelog),
            TopicSpec(self.receipts, 1, "compact", changelog),
            TopicSpec(self.workers, 1, "compact", changelog),
        ]


def _kept(hours: int) -> dict[str, str]:
    """Return the settings of a topic that is kept by time: whole segments go, so one holds a small part of it only."""
    return {"retention.ms": str(hours * HOUR_MS), "segment.ms": str(max(1, hours // SEGMENTS) * HOUR_MS)}
