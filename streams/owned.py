"""One events partition that this worker owns: its states in memory, its store, and the order of its writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.config import Settings
from streams.core.layout import chunks_of, user_key
from streams.core.plan import Plan
from streams.core.step import Partition
from streams.state_store import META_KEY, Meta, StateStore, StoreError


class OwnedPartition:
    """A partition's core, store and progress.

    Attributes:
      next_offset: the first offset that is not applied in memory.
      turn: counts the calls of `pack`.
      tail: the last batch whose writes are under way; each waits for the one before it.
    """

    def __init__(self, core: Partition, store: StateStore) -> None:
        self.core = core
        self.store = store
        self.next_offset = store.meta.applied_through
        self.tail: asyncio.Task[None] | None = None
        self.turn = 0
        self._in_flight: dict[str, int] = {}
        core.watermark_ms = store.meta.watermark_ms
        for user, impressions in store.unlabelled():
            core.expect(user, impressions)

    def load(self, plan: Plan) -> tuple[int, int]:
        """Bring the states that a plan needs into memory; return how many were there and how many were read."""
        return self.load_users(plan.everyone())

    def load_users(self, users: Sequence[str]) -> tuple[int, int]:
        """Bring the states of distinct users into memory, where they have one; return as `load` does."""
        states = self.core.states
        missing = states.missing(users)
        if not missing:
            return len(users), 0
        found = self.store.get([user_key(user) for user in missing])
        records = {user: record for user in missing if (record := found.get(user_key(user))) is not None}
        shape = self.core.config.shape
        chunks = self.store.get([key for user, record in records.items() for key in chunks_of(record, user, shape)])
        for user, record in records.items():
            states.load(user, record, chunks)
        return len(users) - len(missing), len(records)

    def pack(self, users: Sequence[str]) -> dict[bytes, bytes]:
        """Return the records of `users` and keep their states in memory until `written`."""
        self.turn += 1
        self._in_flight.update(dict.fromkeys(users, self.turn))
        return self.core.states.pack(users)

    def progress(self, end: int) -> Meta:
        """Return the progress once every event below `end` is applied."""
        return Meta(end, self.core.watermark_ms)

    def written(self, packed: dict[bytes, bytes], meta: Meta, turn: int, keep: int) -> None:
        """Store what the changelog has acknowledged up to a turn of `pack`, and let go of users beyond `keep`."""
        self.store.put(packed, meta)
        self._in_flight = {user: since for user, since in self._in_flight.items() if since > turn}
        states = self.core.states
        states.drop(user for user in states.oldest(keep) if user not in self._in_flight)


def changelog(packed: dict[bytes, bytes], meta: Meta) -> list[tuple[bytes, bytes]]:
    """Return the changelog records of a batch: chunks and states, then the progress."""
    return [*packed.items(), (META_KEY, msgspec.msgpack.encode(meta))]


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
