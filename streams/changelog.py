"""The changelog of one partition's states: written by one owner at a time, read whole when it changes hands.

The fence: each owner asks the cluster for the producer id of the partition's own transactional id, which raises its
epoch, and writes a record before it reads the log's end. From that record on the broker refuses whatever an earlier
owner still had queued, so the log holds one history, its order is the order of truth, and compaction keeps the newest
state. Nothing else of a transaction is used: batches need no commit and readers see them at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams import failpoints
from streams.config import Settings
from streams.journal import JOURNAL_KEY, Entry, encode_entry
from streams.publisher import Publisher
from streams.security import aio_options
from streams.state_store import META_KEY, Meta, StateStore, StoreError

LONG = 100_000  # offsets; a recovery of more than these fills the store before RocksDB sorts it into levels
OWNER_KEY = b"o"  # of the record with which an owner begins; recovery passes over it


class Changelog:
    """One changelog partition of which this worker is the only writer, from `start` on.

    Args:
      owner: name of the worker, noted in the log.
    """

    def __init__(self, settings: Settings, topic: str, partition: int, owner: str) -> None:
        self._settings, self._topic, self._partition, self._owner = settings, topic, partition, owner
        self._publisher = FencedPublisher(settings, f"{topic}-{partition}")

    async def start(self) -> int:
        """Shut out earlier owners; return the offset after the record that does it."""
        await self._publisher.start()
        end = await self._publisher.publish(self._topic, self._partition, [(OWNER_KEY, self._owner.encode())])
        failpoints.reached("fenced")
        return end

    async def append(self, packed: Mapping[bytes, bytes | None], meta: Meta) -> int:
        """Write marks, withdrawals, chunks and states, then the progress; return the changelog's offset after them.

        Raises:
          PublishError: not acknowledged, because another owner has begun for one.
        """
        records: list[tuple[bytes, bytes | None]] = [*packed.items(), (META_KEY, msgspec.msgpack.encode(meta))]
        return await self._publisher.publish(self._topic, self._partition, records)

    async def note(self, entry: Entry) -> None:
        """Write an entry of the journal.

        Raises:
          PublishError: not acknowledged, because another owner has begun for one.
        """
        await self._publisher.publish(self._topic, self._partition, [(entry.key(), encode_entry(entry))])

    async def recover(self, store: StateStore) -> int:
        """Bring a store up to the changelog's end; return how many records were read.

        Raises:
          StoreError: the store is ahead of the changelog, which was deleted or wiped.
        """
        return await recover(store, self._topic, self._partition, self._settings)

    async def stop(self) -> None:
        """Disconnect."""
        await self._publisher.stop()


class FencedPublisher(Publisher):
    """A publisher whose predecessors of the same id are refused by every partition that it has written to."""

    def __init__(self, settings: Settings, fence: str) -> None:
        super().__init__(settings)
        self._fence = fence

    async def start(self) -> None:
        """Connect, and raise the epoch of this id."""
        await super().start()
        assert self._producer is not None
        # The producer id and epoch are kept; without the transactional id aiokafka sends plain idempotent batches.
        self._producer._txn_manager.transactional_id = None

    async def _part_sent(self, futures: list[Any]) -> None:
        if failpoints.armed("changelog-part"):
            await asyncio.gather(*futures)
            failpoints.reached("changelog-part")

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._options(), transactional_id=self._fence)


async def ends_of(settings: Settings, topic: str, partitions: list[int]) -> dict[int, int]:
    """Return the end offsets of partitions."""
    consumer = AIOKafkaConsumer(**aio_options(settings), enable_auto_commit=False)
    await consumer.start()
    try:
        found = await consumer.end_offsets([TopicPartition(topic, number) for number in partitions])
        return {tp.partition: end for tp, end in found.items()}
    finally:
        await consumer.stop()


async def recover(store: StateStore, topic: str, partition: int, settings: Settings) -> int:
    """Bring a store up to its changelog's end; return how many records were read.

    Raises:
      StoreError: the store is ahead of the changelog, which was deleted or wiped.
    """
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        **aio_options(settings), enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
    )  # fmt: skip
    await consumer.start()
    try:
        consumer.assign([tp])
        begin = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        at = store.meta.changelog_offset
        if at > end:
            raise StoreError(
                f"the state folder {store.path} is ahead of topic {topic} (offset {at}, the topic ends at {end}): the "
                f"topic was wiped; remove the folder to start from what Kafka has"
            )
        at = max(at, begin)
        consumer.seek(tp, at)
        if filled := end - at >= LONG:
            await asyncio.to_thread(store.fill)
        read = 0
        writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing.set_result(None)
        while await consumer.position(tp) < end:
            fetched = await consumer.getmany(tp, timeout_ms=500, max_records=5000)
            records = fetched.get(tp, [])
            read += len(records)
            await writing  # one part is written while the next one is fetched
            if records:
                writing = asyncio.ensure_future(asyncio.to_thread(_take, store, records))
                if failpoints.armed("recovery-part"):
                    await writing
                    failpoints.reached("recovery-part")
        await writing
        if filled:
            await asyncio.to_thread(store.renew)
        store.purge()
        return read
    finally:
        await consumer.stop()


def _take(store: StateStore, records: list[Any]) -> None:
    store.keep({record.key: record.value for record in records if record.key[:1] == JOURNAL_KEY})
    store.absorb([(record.key, record.value) for record in records], records[-1].offset + 1)
