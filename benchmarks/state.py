"""`freshloop bench state`: what a user costs on disk and in the changelog, how fast states come back, bounded memory.

States are made as the stream makes them: 20 recent steps and 100 seen videos each, numbers drawn at random, so nothing
compresses that would not in service. They are written to RocksDB and to a changelog topic; recovery from an empty
folder takes turns with a bare consumer that reads the same records and drops them.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.cluster import cluster, load
from benchmarks.job import RECENT, SHAPE, make_events, make_pool, make_scorer, make_videos
from streams.attempts import Attempts
from streams.changelog import Changelog, recover
from streams.config import Settings
from streams.core.layout import user_key
from streams.core.pool import FreshPool
from streams.core.ranking import Policy
from streams.core.state import UserStates
from streams.core.step import Partition, StepConfig
from streams.owned import OwnedPartition
from streams.state_store import META_KEY, Meta, StateStore
from streams.topics import Topics

SEEN, SEEN_MANY = 100, 1_000
BLOCK = 5_000  # users made at a time
MANY = 2_000  # users with 1,000 seen videos
KEPT = 20_000  # users held in memory while all of them pass
BATCH = 500


def run(users: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON."""
    scorer = make_scorer()
    pool = make_pool(scorer, make_videos())
    with cluster(partitions=1, app_id="state", seen_videos=SHAPE.seen) as settings:
        folder = settings.data_dir / "bench" / "state"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            result: dict[str, Any] = {"users": users}
            count = _write(settings, folder / "disk", pool, users, SEEN, publish=True)
            result["bytes_per_user_on_disk"] = round(_size(folder / "disk") / users)
            say(f"{result['bytes_per_user_on_disk']} bytes a user on disk, {SEEN} seen")
            _write(settings, folder / "many", pool, MANY, SEEN_MANY, publish=False)
            result["bytes_per_user_on_disk_1000_seen"] = round(_size(folder / "many") / MANY)
            result |= _changelog_bytes(pool, scorer)
            counts = count - users // BLOCK, count  # compaction may have taken all notes of progress but the last
            result |= _recovery(settings, folder, counts, rounds, say)
            result |= _memory(settings, folder, pool, scorer, users, say)
            return result
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _blocks(pool: FreshPool, users: int, seen: int) -> Iterator[dict[bytes, bytes]]:
    """Yield the records of users, a block at a time, as `pack` makes them."""
    rng = np.random.default_rng(3)
    for first in range(0, users, BLOCK):
        names = [f"u{number}" for number in range(first, min(first + BLOCK, users))]
        states = UserStates(SHAPE, pool)
        rows = states.rows(names)
        table = states.table
        table["model_version"][rows], table["steps"][rows], table["slates"][rows] = 3, RECENT, 8
        table["last_offset"][rows] = np.arange(first, first + len(rows))
        for name in ("hidden", "recent_numbers", "slate_chances"):
            table[name][rows] = rng.normal(size=table[name][rows].shape)
        for name in ("recent_videos", "slate_offsets"):
            table[name][rows] = rng.integers(0, 2**62, table[name][rows].shape)
        for name in ("recent_events", "recent_flags"):
            table[name][rows] = rng.integers(0, 2**16, table[name][rows].shape)
        orders = np.argsort(rng.random((len(rows), pool.size)), axis=1)[:, :seen]
        for column in orders.T:
            states.mark_seen(rows, column, pool.keys[column])
        yield states.pack(names)


def _write(settings: Settings, path: Path, pool: FreshPool, users: int, seen: int, publish: bool) -> int:
    """Store users, and publish them to the changelog; return how many records that were."""
    store = StateStore(path)
    count = 0
    for block, records in enumerate(_blocks(pool, users, seen)):
        meta = Meta(BLOCK * (block + 1), 0, 0)
        store.put(records, meta)
        if publish:
            written = [*records.items(), (META_KEY, msgspec.msgpack.encode(meta))]
            _publish(settings, written)
            count += len(written)
    store.close()
    return count


def _publish(settings: Settings, records: list[tuple[bytes, bytes]]) -> None:
    load(settings, Topics(settings).states, records, 1)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.name != "LOG")


def _changelog_bytes(pool: FreshPool, scorer: Any) -> dict[str, Any]:
    """Return what an event costs in the changelog when its user's state is written for it alone, and by the batch."""
    core = Partition(0, StepConfig(policy=Policy(), shape=SHAPE), pool)
    users = 1_000
    for records in _blocks(pool, users, SEEN):
        for key, record in records.items():
            if key[:1] == b"u":
                core.states.load(key[1:].decode(), record, records)
    events = make_events(10 * users, users=users)
    arrivals = [(10**6 + number, 1_700_000_000_000, event) for number, event in enumerate(events)]
    total = 0
    for start in range(0, len(arrivals), BATCH):
        effects = core.apply(core.plan(arrivals[start : start + BATCH]), lambda arm: scorer)
        total += sum(len(key) + len(record) for key, record in core.states.pack(list(effects.touched)).items())
    alone = core.states.pack(["u1"])[user_key("u1")]
    return {"changelog_bytes_per_event": round(total / len(events)), "changelog_bytes_per_record": len(alone)}


def _recovery(
    settings: Settings, folder: Path, counts: tuple[int, int], rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return how fast a store is recovered beside a bare consumer; `counts`: least and most records there can be."""
    topic = Topics(settings).states
    bare, ours = [], []
    for number in range(rounds):
        begun = time.monotonic()
        read = asyncio.run(_consume(settings, topic))
        bare.append(time.monotonic() - begun)
        store = StateStore(folder / f"recovery{number}")
        begun = time.monotonic()
        recovered = asyncio.run(recover(store, topic, 0, settings))
        ours.append(time.monotonic() - begun)
        assert counts[0] <= recovered <= read <= counts[1], (read, recovered, counts)
        store.close()
        shutil.rmtree(folder / f"recovery{number}")
        say(f"round {number + 1}: bare consumer {bare[-1]:.1f} s, recovery {ours[-1]:.1f} s, {read:,} records")
    ratios = [one / other for one, other in zip(bare, ours, strict=True)]
    return {
        "records": read, "rounds": rounds,
        "bare_consumer_s": round(statistics.median(bare), 2), "recovery_s": round(statistics.median(ours), 2),
        "ratio_to_bare_consumer": round(statistics.median(ratios), 3),
        "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }  # fmt: skip


async def _consume(settings: Settings, topic: str) -> int:
    """Read a topic's partition 0 to its end with the consumer that recovery uses; return how many records it held."""
    tp = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
    )  # fmt: skip
    await consumer.start()
    consumer.assign([tp])
    end = (await consumer.end_offsets([tp]))[tp]
    await consumer.seek_to_beginning(tp)
    read = 0
    while await consumer.position(tp) < end:
        read += len((await consumer.getmany(tp, timeout_ms=500, max_records=5000)).get(tp, []))
    await consumer.stop()
    return read


def _memory(
    settings: Settings, folder: Path, pool: FreshPool, scorer: Any, users: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Pass every user through one partition that holds `KEPT` of them; return how much memory grew after a quarter."""
    core = Partition(0, StepConfig(policy=Policy(), shape=SHAPE), pool)
    silent = Changelog(settings, Topics(settings).states, 0, "bench")  # never started: nothing is sent
    owned = OwnedPartition(core, StateStore(folder / "pass"), silent, 0.0, Attempts(folder / "attempt"))
    process = psutil.Process()
    template = make_events(BATCH)
    grown: list[float] = []
    for start in range(0, users, BATCH):
        events = [
            msgspec.structs.replace(event, user_id=f"u{start + number}", event_id=f"e{start + number}")
            for number, event in enumerate(template)
        ]
        plan = owned.core.plan([(start + number, 1_700_000_000_000, event) for number, event in enumerate(events)])
        owned.load(plan)
        effects = owned.core.apply(plan, lambda arm: scorer)
        packed = owned.pack(effects)
        owned.written(packed, owned.progress(start + BATCH), owned.turn, KEPT)
        if start % (users // 8 // BATCH * BATCH or BATCH) == 0:
            grown.append(process.memory_info().rss / 2**20)
    owned.store.close()
    quarter = grown[len(grown) // 4]
    say(f"memory while {users:,} users passed: {', '.join(f'{size:.0f}' for size in grown)} MB")
    return {"memory_mb": [round(size) for size in grown], "memory_growth_mb": round(grown[-1] - quarter, 1)}
