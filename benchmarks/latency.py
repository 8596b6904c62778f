"""`freshloop bench latency`: event to slate at a share of the saturating load; worker and broker on this machine.

The load is open: events leave on time whatever the worker does, each with the moment it was due as its timestamp. A
latency is the arrival of the slate at a consumer minus that timestamp; one partition of the four is watched.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.cluster import by_partition, cluster, environment, load, outputs
from benchmarks.job import PARTITIONS, encode, make_events, make_videos
from benchmarks.pipeline import WARM, WORKER, worker_command
from streams.config import ConfigError, Settings
from streams.topics import Topics

TICK_S = 0.005
SATURATING_EVENTS = 120_000
SETTLE_S = 3.0
Pairs = list[tuple[bytes, bytes]]


class _Made(msgspec.Struct):
    """The only field of a slate that is looked at."""

    made_ms: int


_made = msgspec.msgpack.Decoder(_Made).decode


def run(shares: list[float], seconds: float, rate: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON.

    Args:
      shares: of the saturating load.
      seconds: at each share.
      rate: the saturating load in events/s; 0 measures it first.
    """
    with cluster(partitions=PARTITIONS, app_id="latency") as settings:
        topics = Topics(settings)
        videos = make_videos(now_ms=time.time_ns() // 1_000_000)
        load(settings, topics.videos, [(one.video_id.encode(), encode(one)) for one in videos], 1)
        events = [(one.user_id.encode(), encode(one)) for one in make_events(SATURATING_EVENTS)]
        folder = settings.data_dir / "bench" / "latency"
        folder.mkdir(parents=True, exist_ok=True)
        env = os.environ | environment(settings, data_dir=str(folder), **WORKER)
        with open(folder / "log", "wb") as log:
            child = subprocess.Popen(worker_command(settings, "latency"), env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            saturating = rate or _saturate(settings, events, say)
            rows = [_at(settings, share, saturating, seconds, say) for share in shares]
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            shutil.rmtree(folder, ignore_errors=True)
    half = rows[0]
    return {"saturating_rate": round(saturating), **{k: half[k] for k in ("p50_ms", "p99_ms", "p999_ms")}, "rows": rows}


def _saturate(settings: Settings, events: Pairs, say: Callable[[str], None]) -> float:
    """Return the rate at which the worker takes events that are all there."""
    topics = Topics(settings)
    load(settings, topics.events, events, PARTITIONS)
    with outputs(settings, topics.recommendations, PARTITIONS) as counter:
        _await(lambda: counter.total() >= WARM)
        begun, first = time.monotonic(), counter.total()
        _await(lambda: counter.total() >= len(events) - WARM // 10)
        rate = (counter.total() - first) / (time.monotonic() - begun)
        _await(lambda: counter.total() >= len(events))
    say(f"saturated at {rate:,.0f} events/s")
    return rate


def _await(done: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise ConfigError("the worker made no slates in time; its machine is too busy or it does not start")
        time.sleep(0.05)


def _at(
    settings: Settings, share: float, saturating: float, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    found, sent = asyncio.run(_drive(settings, share * saturating, seconds))
    steady = np.array([late for due, late in found if due >= SETTLE_S])
    p50, p99, p999 = (round(float(value), 1) for value in np.percentile(steady, (50, 99, 99.9)))
    say(f"{share:.0%} of that, {sent / seconds:,.0f} events/s: p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms")
    return {
        "share": share, "rate": round(sent / seconds), "p50_ms": p50, "p99_ms": p99, "p999_ms": p999,
        "slates_watched": len(steady),
    }  # fmt: skip


async def _drive(settings: Settings, rate: float, seconds: float) -> tuple[list[tuple[float, float]], int]:
    """Send events at a rate; return for each slate seen when its event was due (s) and its latency (ms)."""
    topics = Topics(settings)
    made = make_events(int(rate * seconds) + 1, seed=int(rate), at_ms=time.time_ns() // 1_000_000)
    pairs = by_partition([(one.user_id.encode(), encode(one)) for one in made], PARTITIONS)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, fetch_max_wait_ms=10, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks=1, max_batch_size=900_000)
    await consumer.start()
    await producer.start()
    tp = TopicPartition(topics.recommendations, 0)
    consumer.assign([tp])
    await consumer.seek_to_end(tp)
    await consumer.position(tp)
    found: list[tuple[float, float]] = []
    begun = time.time_ns() // 1_000_000 + 200

    async def watch() -> None:
        while True:
            fetched = await consumer.getmany(timeout_ms=1000)
            now = time.time_ns() / 1e6
            for records in fetched.values():
                for record in records:
                    due = _made(record.value).made_ms
                    found.append(((due - begun) / 1000, now - due))

    watching = asyncio.create_task(watch())
    sent = await _send(producer, topics.events, pairs, rate, begun)
    await asyncio.sleep(3.0)
    watching.cancel()
    await consumer.stop()
    await producer.stop()
    return [one for one in found if one[0] >= 0], sent


async def _send(producer: Any, topic: str, pairs: dict[int, Pairs], rate: float, begun_ms: int) -> int:
    """Send the pairs of each partition evenly, in ticks of 5 ms."""
    total = sum(map(len, pairs.values()))
    at = dict.fromkeys(pairs, 0)
    ticks = int(total / rate / TICK_S)
    for tick in range(ticks):
        due_ms = begun_ms + int(1000 * TICK_S * tick)
        wait = due_ms / 1000 - time.time_ns() / 1e9
        if wait > 0:
            await asyncio.sleep(wait)
        for number, mine in pairs.items():
            end = len(mine) * (tick + 1) // ticks
            if end == at[number]:
                continue
            builder = producer.create_batch()
            for key, value in mine[at[number] : end]:
                builder.append(key=key, value=value, timestamp=due_ms)
            at[number] = end
            await producer.send_batch(builder, topic, partition=number)
    return sum(at.values())
