"""Effects to Kafka: ready-made record batches, one per topic partition, acknowledged by all replicas."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from streams.config import Settings
from streams.security import aio_options

BATCH_BYTES = 900_000  # below the broker's default limit of 1 MiB for a record batch, headers included


class Out(NamedTuple):
    """One record to send. A value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None  # the time of sending when None


Records = Sequence[Out] | Sequence[tuple[bytes, bytes]] | Sequence[tuple[bytes, bytes | None]]


class PublishError(Exception):
    """Records were not acknowledged; nothing that rests on them may be committed."""


class Publisher:
    """Sends record batches and waits until they are acknowledged."""

    def __init__(self, settings: Settings, timeout_s: float = 30.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def start(self) -> None:
        """Connect; must be called in the loop that publishes."""
        self._producer = self._new_producer()
        await self._producer.start()

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._options(), enable_idempotence=True)

    def _options(self) -> dict[str, Any]:
        return {
            **aio_options(self._settings),
            "acks": "all",
            "max_batch_size": BATCH_BYTES,
            "max_request_size": 2 * BATCH_BYTES,
            "request_timeout_ms": int(self._timeout_s * 1000),
        }

    async def stop(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def publish(self, topic: str, partition: int, records: Records) -> int:
        """Send records in order and wait for them; return the offset after the last one, -1 when there was none.

        Args:
          records: `Out`, or where there are many bare keys and values.
        Raises:
          PublishError: not acknowledged in time, or refused.
        """
        assert self._producer is not None, "start() comes first"
        if not records:
            return -1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(self._producer, topic, partition, records)
        except Exception as error:
            raise PublishError(
                f"{len(records)} records for {topic}-{partition} were not acknowledged: {error!r}"
            ) from error

    async def _send(self, producer: AIOKafkaProducer, topic: str, partition: int, records: Records) -> int:
        futures: list[asyncio.Future[Any]] = []
        at, count = 0, 0
        # One at a time: those who wait together for a free place are served in any order, and aiokafka 0.14 takes each
        # wait off their time again and again, so that they give up long before it has passed.
        async with self._turns[topic, partition]:
            while at < len(records):
                builder = producer.create_batch()
                full = fill(builder, records, at)
                if full == at:
                    raise PublishError(f"a record of {len(records[at][1] or b'')} bytes exceeds {BATCH_BYTES}")
                count, at = full - at, full
                futures.append(await producer.send_batch(builder, topic, partition=partition))
                if at < len(records):
                    await self._part_sent(futures)
        last = (await asyncio.gather(*futures))[-1]
        return int(last.offset) + count

    async def _part_sent(self, futures: list[Any]) -> None:
        """Called between two record batches of one publication."""


def fill(builder: Any, records: Records, at: int) -> int:
    """Append records from place `at` on; return the place of the first that does not fit."""
    append = builder.append
    for place in range(at, len(records)):
        record = records[place]
        headers, stamp = (list(record.headers), record.timestamp_ms) if isinstance(record, Out) else ([], None)
        if append(key=record[0], value=record[1], timestamp=stamp, headers=headers) is None:
            return place
    return len(records)
