"""An open load on a worker: events leave on time whatever it does, each with the moment it was due as its timestamp."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.cluster import by_partition, cluster, environment, load
from benchmarks.job import encode, make_events, make_videos
from benchmarks.pipeline import WORKER, worker_command
from streams.config import ConfigError, Settings
from streams.topics import Topics

TICK_S = 0.005
Pairs = list[tuple[bytes, bytes]]


class Seen(NamedTuple):
    """A slate: when its event was due (s from the beginning), how long it took to arrive, which version made it."""

    due_s: float
    late_ms: float
    version: int


class Driven(NamedTuple):
    """What came of a load.

    Attributes:
      seen: slates of partition 0.
      sent: events.
      sender_ms: how late the sender itself was, ms, by tick of 5 ms: what it delays counts as the worker's latency.
    """

    seen: list[Seen]
    sent: int
    sender_ms: list[float]


class _Made(msgspec.Struct):
    """The only fields of a slate that are looked at."""

    made_ms: int
    model_version: int


_made = msgspec.msgpack.Decoder(_Made).decode


@contextmanager
def worker(name: str, partitions: int, port: int = 0) -> Iterator[Settings]:
    """Yield the settings of a cluster with 2,000 videos and one worker; it is killed at the end.

    Args:
      port: of its metrics; 0 for any.
    """
    with cluster(partitions=partitions, app_id=f"{name}-{partitions}") as settings:
        videos = make_videos(now_ms=time.time_ns() // 1_000_000)
        load(settings, Topics(settings).videos, [(one.video_id.encode(), encode(one)) for one in videos], 1)
        folder = settings.data_dir / "bench" / name
        folder.mkdir(parents=True, exist_ok=True)
        env = os.environ | environment(settings, data_dir=str(folder), **WORKER)
        with open(folder / "log", "wb") as log:
            command = worker_command(settings, name, port)
            child = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield settings
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            shutil.rmtree(folder, ignore_errors=True)


def backlog(count: int) -> Pairs:
    """Return events as records."""
    return [(one.user_id.encode(), encode(one)) for one in make_events(count)]


def wait_for(done: Callable[[], bool], what: str = "the worker", timeout_s: float = 120.0) -> None:
    """Return once `done` says so.

    Raises:
      ConfigError: it does not in time.
    """
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise ConfigError(f"{what} did not answer in time: the machine is too busy, or it does not start")
        time.sleep(0.05)


async def drive(settings: Settings, rate: float, seconds: float, during: Callable[[], None] | None = None) -> Driven:
    """Send events at a rate, and look at the slates.

    Args:
      during: run in a thread of its own meanwhile.
    """
    now_ms = time.time_ns() // 1_000_000  # ids that no earlier call gave, which would make duplicates
    made = make_events(int(rate * seconds) + 1, seed=int(rate), at_ms=now_ms, name=f"d{now_ms % 1_000_000}")
    pairs = by_partition([(one.user_id.encode(), encode(one)) for one in made], settings.partitions)
    with _uncollected():
        return await _driven(settings, pairs, rate, during)


async def _driven(
    settings: Settings, pairs: dict[int, Pairs], rate: float, during: Callable[[], None] | None
) -> Driven:
    topics = Topics(settings)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, fetch_max_wait_ms=10, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks=1, max_batch_size=900_000)
    await consumer.start()
    await producer.start()
    tp = TopicPartition(topics.recommendations, 0)
    consumer.assign([tp])
    await consumer.seek_to_end(tp)
    await consumer.position(tp)
    found: list[Seen] = []
    begun = time.time_ns() // 1_000_000 + 200

    async def watch() -> None:
        while True:
            fetched = await consumer.getmany(timeout_ms=1000)
            now = time.time_ns() / 1e6
            for records in fetched.values():
                for record in records:
                    made = _made(record.value)
                    due = made.made_ms
                    found.append(Seen((due - begun) / 1000, now - due, made.model_version))

    watching = asyncio.create_task(watch())
    beside = asyncio.create_task(asyncio.to_thread(during)) if during else None
    sent, late = await _send(producer, topics.events, pairs, rate, begun)
    await asyncio.sleep(3.0)
    watching.cancel()
    if beside is not None:
        await beside
    await consumer.stop()
    await producer.stop()
    return Driven([one for one in found if one.due_s >= 0], sent, late)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking through all events in the middle of a measurement: that takes 100 ms."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _send(
    producer: Any, topic: str, pairs: dict[int, Pairs], rate: float, begun_ms: int
) -> tuple[int, list[float]]:
    """Send the pairs of each partition evenly, in ticks of 5 ms; return how many, and how late each tick was."""
    late: list[float] = []
    total = sum(map(len, pairs.values()))
    at = dict.fromkeys(pairs, 0)
    ticks = int(total / rate / TICK_S)
    for tick in range(ticks):
        due_ms = begun_ms + int(1000 * TICK_S * tick)
        wait = due_ms / 1000 - time.time_ns() / 1e9
        if wait > 0:
            await asyncio.sleep(wait)
        late.append(time.time_ns() / 1e6 - due_ms)
        for number, mine in pairs.items():
            end = len(mine) * (tick + 1) // ticks
            if end == at[number]:
                continue
            builder = producer.create_batch()
            for key, value in mine[at[number] : end]:
                builder.append(key=key, value=value, timestamp=due_ms)
            at[number] = end
            await producer.send_batch(builder, topic, partition=number)
    return sum(at.values()), late
