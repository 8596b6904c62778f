"""A Faust transport that hands over one event per partition and turn, holding the whole list of records.

Faust's own path costs a queue, a coroutine switch and an acknowledgement for each record; here they are paid once a
batch. Offsets are committed by ranges in order (`RangeWatermark`), because Faust's own bookkeeping assumes one record
per message. What is replaced here is pinned by version and watched by `tests/unit/streams/test_upstream.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, cast

import aiokafka
from aiokafka.structs import TopicPartition
from faust.topics import Topic
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerMessage, Message

from streams import failpoints
from streams.gathering import Batch, Waiting
from streams.watermark import RangeWatermark

PACE_S = 0.006  # between two fetches while batches wait; more often would only keep both threads busy
POLL_S = 1.0

#: Given the committed offsets (absent when there is none), returns where each partition goes on.
StartPositions = Callable[[Mapping[TP, int | None]], Awaitable[Mapping[TP, int]]]


class Overslept(Exception):
    """The process did not run for longer than its session lasts: its partitions may be another worker's by now."""

    def __init__(self, slept_s: float) -> None:
        super().__init__(f"the process did not run for {slept_s:.1f} s, longer than its session lasts")


class BatchConsumerThread(AIOKafkaConsumerThread):
    """Knows, in the thread that fetches, the position from which each batch was fetched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positions: dict[TP, int] = {}
        self.waiting = Waiting(self.app.conf.broker_max_poll_records or 0)
        self._active: set[TP] = set()
        self._begun: list[Batch] = []
        self._news = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None
        self.epoch = 0
        self._beat_at = monotonic()
        self._beating: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Connect, and watch that this thread, which sends the heartbeats, runs."""
        self._beating = self.thread_loop.create_task(self._beat())
        await super().on_start()

    async def on_thread_stop(self) -> None:
        """Disconnect."""
        for task in (self._beating, self._gathering):
            if task is not None:
                task.cancel()
        await super().on_thread_stop()

    def overslept_s(self) -> float:
        """Return for how long this thread did not run, when that is longer than a session lasts; else 0."""
        gap = monotonic() - self._beat_at
        return gap if gap > self.app.conf.broker_session_timeout else 0.0

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            if slept := self.overslept_s():
                cast(BatchConsumer, self.consumer).on_fatal(Overslept(slept))
            self._beat_at = monotonic()
            if (error := self._left_group()) is not None:
                cast(BatchConsumer, self.consumer).on_fatal(error)

    def _left_group(self) -> BaseException | None:
        """Return what ended the membership in the group: aiokafka says so to those who poll, and none of us may."""
        task = getattr(getattr(self._consumer, "_coordinator", None), "_coordination_task", None)
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    def new_epoch(self) -> None:
        """Make every batch fetched so far stale."""
        self.epoch += 1
        self.waiting.clear()
        self._begun = []

    async def seek_all(self, positions: Mapping[TP, int]) -> None:
        """Go on from these offsets; what was fetched before is stale."""
        await self.call_thread(self._seek_all, positions)

    async def _seek_all(self, positions: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        self._positions = dict(positions)
        self.new_epoch()
        for tp, offset in positions.items():
            consumer.seek(TopicPartition(tp.topic, tp.partition), offset)

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[Batch]]:
        """Return the batches that have begun to wait since the last call; they grow until their turn comes."""
        self._active = active_partitions
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather(consumer, max_records))
        if self._gathering.done():
            self._gathering.result()  # raises what ended it
        if not self._begun:
            self._news.clear()
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait([self._gathering, news], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        begun, self._begun = self._begun, []
        batches: dict[TP, list[Batch]] = {}
        for batch in begun:
            batches.setdefault(batch.tp, []).append(batch)
        return batches

    async def _gather(self, consumer: aiokafka.AIOKafkaConsumer, max_records: int | None) -> None:
        """Fetch without end, in this thread alone: what waits for the worker's loop gets the newest records."""
        while True:
            active = self._active
            room = self.waiting.with_room(active)
            # A partition that has room again must not wait for those that have nothing.
            timeout = POLL_S if len(room) == len(active) else PACE_S
            fetched = await super()._fetch_records(consumer, room, timeout, max_records) if room else {}
            # No await from here on: positions, epoch and records belong together.
            for aio_tp, records in fetched.items():
                tp = TP(aio_tp.topic, aio_tp.partition)
                begin, end = self._positions.get(tp, records[0].offset), records[-1].offset + 1
                self._positions[tp] = end
                batch = Batch(tp, records, begin, end, self.epoch)
                if self.waiting.add(batch):
                    self._begun.append(batch)
                    self._news.set()
            if not fetched or len(self.waiting):
                await _rest(consumer)


async def _rest(consumer: aiokafka.AIOKafkaConsumer) -> None:
    """Fetch nothing for a while: aiokafka would fetch at once, and hand over later what was new then."""
    resting = consumer.assignment()
    consumer.pause(*resting)
    await asyncio.sleep(PACE_S)
    consumer.resume(*(resting & consumer.assignment()))


class BatchConsumer(Consumer):
    """Faust's consumer with a batch for a message and ranges for acknowledgements.

    `start_positions`, set by the worker before it starts, decides where partitions go on after a rebalance.
    """

    start_positions: StartPositions

    @staticmethod
    def on_fatal(error: BaseException) -> None:
        """Called in another thread when this worker is no member of its group any more; set by the app."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watermarks: dict[TP, RangeWatermark] = {}

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _batches(self) -> BatchConsumerThread:
        return cast(BatchConsumerThread, self._thread)

    def close_batch(self, batch: Batch) -> None:
        """Let nothing join a batch any more: its turn has come."""
        self._batches.waiting.close(batch)

    def is_current(self, batch: Batch) -> bool:
        """Return whether the batch was fetched under the present assignment and position."""
        known = batch.epoch == self._batches.epoch and batch.tp in self._watermarks
        return known and not self._batches.overslept_s()

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        batch: Batch = record
        last = batch.records[-1]
        return ConsumerMessage(
            batch.tp.topic, batch.tp.partition, last.offset, last.timestamp / 1000.0, last.timestamp_type, [], None,
            cast(Any, batch), None, 0, 0, batch.tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def ack(self, message: Message) -> bool:
        """Acknowledge a batch; a stale one is only forgotten."""
        batch = cast(Batch, cast(Any, message.value))
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        current = self.is_current(batch)
        if current:
            self._watermarks[batch.tp].ack(batch.begin, batch.end)
            self._n_acked += len(batch.records)
        if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
            self._waiting_for_ack.set_result(None)
        return current

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:
        return [tp for tp in self._watermarks if topics is None or tp in topics or tp.topic in topics]

    def _new_offset(self, tp: TP) -> int | None:
        watermark = self._watermarks.get(tp)
        return watermark.position if watermark else None

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        done = await super()._commit_offsets(offsets, start_new_transaction)
        if done:
            failpoints.reached("committed")
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Holes are part of the batch that follows them."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let what is in flight finish and be committed, then make everything fetched so far stale."""
        await super().on_partitions_revoked(revoked)
        self._batches.new_epoch()
        self._watermarks.clear()

    async def perform_seek(self) -> None:
        """Go on from where the worker says; called by Faust after a rebalance, before the flow resumes."""
        committed = await self.seek_to_committed()
        assigned: dict[TP, int | None] = {TP(tp.topic, tp.partition): None for tp in self.assignment()}
        known: dict[TP, int | None] = {TP(tp.topic, tp.partition): offset for tp, offset in committed.items()}
        positions = await self.start_positions(assigned | known)
        await self._batches.seek_all(positions)
        self._watermarks = {tp: RangeWatermark(offset) for tp, offset in positions.items()}
        for tp, offset in positions.items():
            self._read_offset[tp] = offset or None
            self._committed_offset[tp] = known.get(tp)


class BatchTransport(Transport):
    """Faust's aiokafka transport with the batch consumer."""

    Consumer = BatchConsumer


class BatchTopic(Topic):
    """A topic whose events are batches; nothing is decoded here."""

    def _compile_decode(self) -> None:
        async def decode(message: Message, *, propagate: bool = False) -> Any:
            return self.app.create_event(None, message.value, [], message)

        self.decode = decode  # type: ignore[method-assign]  # as Faust's own _compile_decode does
