"""The trainer's Kafka consumer: models, videos, their vectors, erasures and feedback, without a consumer group.

Where feedback goes on is not a committed offset: the version in service says how far it was learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streams.config import Settings
from streams.security import kafka_options
from streams.topics import Topics

_FETCH_BYTES = 4 << 20  # a chunk of weights is 900 kB


class Intake:
    """Polls the topics; feedback only once `start_feedback` said from where."""

    def __init__(self, settings: Settings, readers: int = 1, reader: int = 0) -> None:
        """Connect.

        Args:
          settings: name the cluster.
          readers, reader: how many share the partitions of `feedback`, and which of them this is.
        """
        topics = Topics(settings)
        self._consumer = KafkaConsumer(
            **kafka_options(settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=_FETCH_BYTES,
            max_poll_records=2000,
        )
        self._whole = [
            TopicPartition(name, 0) for name in (topics.models, topics.videos, topics.vectors, topics.erasures)
        ]
        count = next(spec.partitions for spec in topics.specs() if spec.name == topics.feedback)
        self._feedback = [TopicPartition(topics.feedback, number) for number in range(reader, count, readers)]

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def start_whole(self) -> None:
        """Read all but feedback from the beginning."""
        self._consumer.assign(self._whole)
        self._consumer.seek_to_beginning(*self._whole)
        self._ends = self._consumer.end_offsets(self._whole)

    def caught_up(self) -> bool:
        """Return whether all that was there when reading began has been polled."""
        return all(self._consumer.position(tp) >= end for tp, end in self._ends.items())

    def models_behind(self) -> Callable[[], bool]:
        """Return whether, asked now or later, records of the models topic that are there now are still to be polled."""
        models = self._whole[0]
        end = self._consumer.end_offsets([models])[models]
        return lambda: self._consumer.position(models) < end

    def start_feedback(self, through: Mapping[int, int], again: int) -> dict[int, int]:
        """Read feedback too, from up to `again` records before `through`.

        Args:
          through: by partition, the first offset that was not learned from; 0 where it is not said.

        Returns: by partition, the offset from which on records are new: `through`, moved to the beginning of what is
          kept, or to it also where the topic ends before `through` because it was made anew.
        """
        positions = {tp: self._consumer.position(tp) for tp in self._whole}
        self._consumer.assign([*self._whole, *self._feedback])
        for tp, position in positions.items():
            self._consumer.seek(tp, position)
        begins = self._consumer.beginning_offsets(self._feedback)
        ends = self._consumer.end_offsets(self._feedback)
        new: dict[int, int] = {}
        for tp in self._feedback:
            learned = through.get(tp.partition, 0)
            new[tp.partition] = begins[tp] if learned > ends[tp] else max(learned, begins[tp])
            self._consumer.seek(tp, max(begins[tp], new[tp.partition] - again))
        return new

    def poll(self, timeout_s: float) -> dict[str, list[Any]]:
        """Return records by topic, in order of offset within each partition."""
        found: dict[str, list[Any]] = {}
        for tp, records in self._consumer.poll(timeout_ms=int(timeout_s * 1000)).items():
            found.setdefault(tp.topic, []).extend(records)
        return found

    def lag(self) -> dict[int, int]:
        """Return offsets behind the end, by feedback partition, as far as the last poll knows."""
        behind = {}
        for tp in self._feedback:
            end = self._consumer.highwater(tp)
            if end is not None:
                behind[tp.partition] = max(0, end - self._consumer.position(tp))
        return behind
