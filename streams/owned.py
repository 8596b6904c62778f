"""One events partition that this worker owns: its states in memory, its store, and the order of its writes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.config import Settings
from streams.core.pool import FreshPool
from streams.core.step import Op, Partition
from streams.publisher import Out
from streams.state_store import META_KEY, Meta, StateStore, StoreError, user_key


class OwnedPartition:
    """A partition's core, store and progress.

    Attributes:
      next_offset: the first offset that is not applied in memory.
      tail: the last batch whose writes are under way; each waits for the one before it.
    """

    def __init__(self, core: Partition, store: StateStore, pool: FreshPool) -> None:
        self.core = core
        self.store = store
        self._pool = pool
        self.next_offset = store.meta.applied_through
        self.tail: asyncio.Task[None] | None = None
        self._in_flight: Counter[str] = Counter()
        core.watermark_ms = store.meta.watermark_ms
        for user, pending in store.unlabelled():
            core.expect(user, pending)

    def load(self, ops: Sequence[Op]) -> tuple[int, int]:
        """Bring the states that `ops` need into memory; return how many were there and how many were read."""
        states = self.core.states
        users = dict.fromkeys(op.user_id for op in ops)
        missing = states.missing(users)
        found = self.store.get(missing)
        for user, record in found.items():
            row = states.load(user, record)
            states.mark_slots(row, self._pool.slots_of_keys(states.seen_keys(row)))
        return len(users) - len(missing), len(found)

    def pack(self, users: Sequence[str]) -> dict[str, bytes]:
        """Return the packed states of `users` and keep them in memory until `written`."""
        self._in_flight.update(users)
        return {user: self.core.states.pack(user) for user in users}

    def progress(self, end: int) -> Meta:
        """Return the progress once every event below `end` is applied."""
        return Meta(end, self.core.watermark_ms)

    def written(self, packed: dict[str, bytes], meta: Meta, keep: int) -> None:
        """Write what the changelog has acknowledged, and let go of users beyond `keep`."""
        self.store.put(packed, meta)
        self._in_flight.subtract(list(packed))
        self._in_flight += Counter()
        states = self.core.states
        states.drop(user for user in states.oldest(keep) if user not in self._in_flight)


def changelog(packed: dict[str, bytes], meta: Meta) -> list[Out]:
    """Return the changelog records of a batch: the states, then the progress."""
    records = [Out(user_key(user), value) for user, value in packed.items()]
    return [*records, Out(META_KEY, msgspec.msgpack.encode(meta))]


async def recover(store: StateStore, topic: str, partition: int, settings: Settings) -> int:
    """Bring a store up to its changelog's end; return how many records were read.

    Raises:
      StoreError: the store is ahead of the changelog, which was deleted or wiped.
    """
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest",
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
        consumer.seek(tp, max(at, begin))
        read = 0
        while await consumer.position(tp) < end:
            fetched = await consumer.getmany(tp, timeout_ms=500, max_records=5000)
            records = fetched.get(tp, [])
            read += len(records)
            if records:
                store.absorb([(record.key, record.value) for record in records], records[-1].offset + 1)
        return read
    finally:
        await consumer.stop()
