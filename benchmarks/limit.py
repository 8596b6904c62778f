"""The limit of `bench pipeline`: bare aiokafka and the same arithmetic by the batch; no Faust, no store, no features.

`getmany` hands over the records of all partitions; per partition the batch is decoded, users step in waves, slates are
the best 20 of one product, and three record batches go out: slates, feedback and the changelog. States are rows in
memory and stay there. A batch is acknowledged before the next but three is begun, as in Freshloop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from numpy.typing import NDArray

from benchmarks.job import HIDDEN, PARTITIONS, SHAPE, TOP, Best, decode_event, make_pool, make_scorer, make_videos
from streams.core.behaviour import expand, log_gaps, steps_of
from streams.core.layout import blank, fixed_size, row_type
from streams.core.plan import Plan, waves_of
from streams.core.ranking import Ranked
from streams.core.records import FeedbackRecords, slate_records
from streams.core.slates import Order
from streams.core.tiles import TILE, multiply
from streams.publisher import BATCH_BYTES, fill

Ints = NDArray[np.int64]
IN_FLIGHT = 4


class Limit:
    """States of one partition as rows, and the arithmetic."""

    def __init__(self, number: int, scorer: Any, pool: Any) -> None:
        self.number, self.scorer, self.pool = number, scorer, pool
        self.rows: dict[bytes, int] = {}
        self.blank = blank(SHAPE)
        self.table = np.zeros(8192, row_type(SHAPE))
        self.tile, self.best = np.empty((TILE, pool.size), np.float32), Best(pool.size)

    def apply(self, records: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Return slates, feedback and changelog records of a batch."""
        events = [decode_event(record.value) for record in records]
        keys = [record.key for record in records]
        rows = self._rows_of(keys)
        offsets = np.array([record.offset for record in records], np.int64)
        stamps = np.array([record.timestamp for record in records], np.int64)
        plan = Plan(events, [event.user_id for event in events], offsets, stamps)
        slots = self.pool.slots([event.video_id for event in events])
        steps = steps_of(events, self.pool.durations_ms[slots], self.pool.kinds[slots])
        times = np.array([event.event_time_ms for event in events], np.int64)
        hidden = np.empty((len(events), HIDDEN), np.float32)
        for wave in waves_of(rows):
            self._step(wave, rows[wave], offsets[wave], slots[wave], times[wave], steps)
            hidden[wave] = self.table["hidden"][rows[wave]]
        every = np.arange(len(events))
        ranked = self._best(hidden)
        orders = [Order("online", "online", self.scorer, every)]
        slates = slate_records(plan, orders, ranked, f"{self.number}-", 0.9, self.pool)
        feedback = FeedbackRecords(plan, steps, every, [], ["online"] * len(events))
        return slates.pairs(), feedback.pairs(), self._changelog(keys, rows)

    def _rows_of(self, keys: list[bytes]) -> Ints:
        known = self.rows
        for key in keys:
            if key not in known:
                known[key] = row = len(known)
                self.table[row] = self.blank
        return np.array([known[key] for key in keys], np.int64)

    def _step(self, wave: Ints, rows: Ints, offsets: Ints, slots: Ints, times: Ints, steps: Any) -> None:
        table = self.table
        made = table["steps"][rows]
        steps.numbers[wave, 2] = log_gaps(np.where(made > 0, times - table["last_step_ms"][rows], 0))
        vectors = self.pool.encoded(self.scorer).vectors[slots]
        inputs = expand(steps.numbers[wave], steps.flags[wave])
        table["hidden"][rows] = self.scorer.step(table["hidden"][rows], vectors, inputs)
        table["recent_videos"][rows, made % SHAPE.recent] = self.pool.keys[slots]
        table["seen"][rows, table["seen_count"][rows] % SHAPE.chunk] = self.pool.keys[slots] & 0xFFFF_FFFF
        table["seen_count"][rows] += 1
        table["steps"][rows] = made + 1
        table["last_step_ms"][rows], table["last_offset"][rows] = times, offsets

    def _best(self, hidden: NDArray[np.float32]) -> Ranked:
        queries = self.scorer.queries(hidden)
        keys = self.pool.encoded(self.scorer).keys[: self.pool.size]
        padded = np.zeros((-(-len(queries) // TILE) * TILE, queries.shape[1]), np.float32)
        padded[: len(queries)] = queries
        parts, rows = [], len(queries)
        for start in range(0, rows, TILE):
            multiply(padded[start : start + TILE], keys.T, self.tile)
            parts.append(self.best.of(self.tile[: rows - start]))
        slots, logits = (np.concatenate(some) for some in zip(*parts, strict=True))
        explored = np.zeros((rows, TOP), bool)
        explored[:, [3, 11]] = True  # so that the records are as long
        count, chance = np.full(rows, TOP), np.full(rows, 0.05, np.float32)
        return Ranked(slots, logits, count, explored, chance)

    def _changelog(self, keys: list[bytes], rows: Ints) -> list[tuple[bytes, bytes]]:
        users = dict(zip(keys, rows.tolist(), strict=True))
        packed = self.table[list(users.values())]
        ends = (fixed_size(SHAPE) + 4 * (packed["seen_count"] % SHAPE.chunk)).tolist()
        data, size = packed.tobytes(), packed.itemsize
        return [
            (b"u" + key, data[at * size : at * size + end])
            for at, (key, end) in enumerate(zip(users, ends, strict=True))
        ]


async def run(brokers: str, prefix: str, group: str, poll: int) -> None:
    """Consume until killed."""
    scorer = make_scorer()
    pool = make_pool(scorer, make_videos())
    parts = [Limit(number, scorer, pool) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20, check_crcs=False,
    )  # fmt: skip
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES,
        max_request_size=2 * BATCH_BYTES,
    )  # fmt: skip
    await consumer.start()
    await producer.start()
    consumer.assign([TopicPartition(f"{prefix}events", number) for number in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    topics = (f"{prefix}recommendations", f"{prefix}feedback", f"{prefix}{group}-states")
    gc.freeze()
    waiting: list[asyncio.Future[Any]] = []
    while True:
        for tp, records in (await consumer.getmany(timeout_ms=200, max_records=poll)).items():
            outputs = parts[tp.partition].apply(records)
            sent = [await _send(producer, topic, tp.partition, out) for topic, out in zip(topics, outputs, strict=True)]
            waiting.append(asyncio.gather(*(future for futures in sent for future in futures)))
            if len(waiting) >= IN_FLIGHT:
                await waiting.pop(0)


async def _send(producer: Any, topic: str, partition: int, records: list[Any]) -> list[Any]:
    futures, at = [], 0
    while at < len(records):
        builder = producer.create_batch()
        at = fill(builder, records, at)
        futures.append(await producer.send_batch(builder, topic, partition=partition))
    return futures


def main() -> None:
    """Run the limit, as `bench pipeline` starts it."""
    parser = argparse.ArgumentParser()
    for name in ("brokers", "prefix", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--folder")
    parser.add_argument("--poll", type=int, default=2000)
    args = parser.parse_args()
    asyncio.run(run(args.brokers, args.prefix, args.group, args.poll))


if __name__ == "__main__":
    main()
