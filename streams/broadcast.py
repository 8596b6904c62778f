"""What every worker needs whole: videos, models, and the rewards that make popularity.

Read by a consumer without a group, from the beginning where the topic is compacted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.config import Settings

Handler = Callable[[Sequence[Any]], None]


class Broadcast:
    """Feeds records of topics to handlers, in order, a poll at a time.

    Attributes:
      caught_up: set once everything that was there at the start has been handled.
    """

    def __init__(self, settings: Settings, from_start: dict[str, Handler], from_end: dict[str, Handler]) -> None:
        self._settings = settings
        self._from_start, self._from_end = from_start, from_end
        self.caught_up = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Read until cancelled."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 << 20,
        )
        await consumer.start()
        try:
            await self._read(consumer)
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        handlers = self._from_start | self._from_end
        await consumer._client._wait_on_metadata(next(iter(handlers)))  # partitions_for_topic answers from the cache
        partitions: list[TopicPartition] = []
        for topic in handlers:
            await consumer._client._wait_on_metadata(topic)
            partitions += [TopicPartition(topic, number) for number in consumer._client.cluster.partitions_for_topic(topic)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*[tp for tp in partitions if tp.topic in self._from_start])
        await consumer.seek_to_end(*[tp for tp in partitions if tp.topic in self._from_end])
        ends = await consumer.end_offsets([tp for tp in partitions if tp.topic in self._from_start])
        while True:
            fetched = await consumer.getmany(timeout_ms=200, max_records=2000)
            for tp, records in fetched.items():
                handlers[tp.topic](records)
            if not self.caught_up.is_set():
                positions = [await consumer.position(tp) >= end for tp, end in ends.items()]
                if all(positions):
                    self.caught_up.set()
