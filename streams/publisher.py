"""Effects to Kafka: ready-made record batches, one per topic partition, acknowledged by all replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from streams.config import Settings

BATCH_BYTES = 900_000  # below the broker's default limit of 1 MiB for a record batch, headers included


class Out(NamedTuple):
    """One record to send. A value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class PublishError(Exception):
    """Records were not acknowledged; nothing that rests on them may be committed."""


class Publisher:
    """Sends record batches and waits until they are acknowledged."""

    def __init__(self, settings: Settings, timeout_s: float = 30.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; must be called in the loop that publishes."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap,
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * BATCH_BYTES,
            request_timeout_ms=int(self._timeout_s * 1000),
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def publish(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Send keys and values in order and wait; return the offset after the last one, -1 when there was none.

        Raises:
          PublishError: not acknowledged in time, or refused.
        """
        if not records:
            return -1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(topic, partition, records)
        except Exception as error:
            raise PublishError(
                f"{len(records)} records for {topic}-{partition} were not acknowledged: {error!r}"
            ) from error

    async def publish_out(self, topic: str, records: Sequence[Out], partition: int = 0) -> None:
        """Send the few records that have headers or no key, and wait.

        Raises:
          PublishError: not acknowledged in time, or refused.
        """
        if not records:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                futures = []
                builder = self._connected.create_batch()
                for record in records:
                    if not _append(builder, record):
                        futures.append(await self._connected.send_batch(builder, topic, partition=partition))
                        builder = self._connected.create_batch()
                        _append(builder, record)
                futures.append(await self._connected.send_batch(builder, topic, partition=partition))
                await asyncio.gather(*futures)
        except Exception as error:
            raise PublishError(
                f"{len(records)} records for {topic}-{partition} were not acknowledged: {error!r}"
            ) from error

    @property
    def _connected(self) -> AIOKafkaProducer:
        assert self._producer is not None, "start() comes first"
        return self._producer

    async def _send(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        producer = self._connected
        futures = []
        builder = producer.create_batch()
        for key, value in records:
            if builder.append(key=key, value=value, timestamp=None) is None:
                futures.append(await producer.send_batch(builder, topic, partition=partition))
                builder = producer.create_batch()
                if builder.append(key=key, value=value, timestamp=None) is None:
                    raise PublishError(f"a record of {len(value)} bytes exceeds {BATCH_BYTES}")
        futures.append(await producer.send_batch(builder, topic, partition=partition))
        last = (await asyncio.gather(*futures))[-1]
        return int(last.offset) + int(builder.record_count())


def _append(builder: Any, record: Out) -> bool:
    """Add a record to a batch; False when it does not fit."""
    made = builder.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers))
    return made is not None
