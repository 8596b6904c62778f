"""What every worker needs whole: videos, models, and the rewards that make popularity.

Read by a consumer without a group: compacted topics from the beginning, the others from a moment on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.config import Settings
from streams.security import aio_options
from streams.topics import Topics

Handler = Callable[[Sequence[Any]], None]
MOST_RECENT = 50_000  # records of a partition that are read again at most, however young they are


class Broadcast:
    """Feeds records of topics to handlers, in order, a poll at a time.

    Args:
      whole: handlers of topics that are read from the beginning.
      recent: handlers of topics that are read from `since_ms` on.

    Attributes:
      caught_up: set once everything that was there at the start has been handled.
    """

    def __init__(
        self, settings: Settings, whole: dict[str, Handler], recent: dict[str, Handler], since_ms: int
    ) -> None:
        self._settings = settings
        self._whole, self._recent, self._since_ms = whole, recent, since_ms
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Read until cancelled."""
        consumer = AIOKafkaConsumer(
            **aio_options(self._settings),
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
        handlers = self._whole | self._recent
        counts = {spec.name: spec.partitions for spec in Topics(self._settings).specs()}
        partitions = [TopicPartition(topic, number) for topic in handlers for number in range(counts[topic])]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*[tp for tp in partitions if tp.topic in self._whole])
        await self._seek_recent(consumer, {tp: end for tp, end in ends.items() if tp.topic in self._recent})
        while True:
            fetched = await consumer.getmany(timeout_ms=200, max_records=2000)
            for tp, records in fetched.items():
                handlers[tp.topic](records)
            if not self.caught_up.is_set():
                positions = [await consumer.position(tp) >= end for tp, end in ends.items()]
                if all(positions):
                    self.caught_up.set()

    async def _seek_recent(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        found = await consumer.offsets_for_times(dict.fromkeys(ends, self._since_ms))
        begins = await consumer.beginning_offsets(list(ends))
        for tp, end in ends.items():
            since = found[tp].offset if found.get(tp) else end
            consumer.seek(tp, max(since, end - MOST_RECENT, begins[tp]))
