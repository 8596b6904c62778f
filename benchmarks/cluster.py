"""A broker and topics for one benchmark: records put there by the batch, outputs counted by their offsets."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from kafka import KafkaConsumer, TopicPartition
from pydantic import SecretStr

from deploy import broker
from streams.admin import answering_cluster, create_topics, delete_topics
from streams.config import Settings, load_settings
from streams.publisher import BATCH_BYTES, fill
from streams.topics import Topics

Pairs = Sequence[tuple[bytes, bytes]]


@contextmanager
def cluster(**overrides: Any) -> Iterator[Settings]:
    """Yield settings with topics of their own; an embedded broker is started where none answers, and stopped again."""
    settings = load_settings(topic_prefix=f"bench-{uuid.uuid4().hex[:6]}-", **overrides)
    started = not settings.brokers and answering_cluster(settings) is None
    if started:
        broker.up(settings)
    try:
        create_topics(settings)
        yield settings
    finally:
        delete_topics(settings)
        if started:
            broker.down(settings)


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    """Return the variables that give a child process these settings."""
    secrets = {name for name in type(settings).model_fields if isinstance(getattr(settings, name), SecretStr)}
    fields = settings.model_dump(mode="json", exclude_unset=True, exclude=secrets)
    fields |= {"brokers": settings.bootstrap, "pseudonym_key": ""}  # the users of a benchmark are nobody's
    return {f"FRESHLOOP_{name.upper()}": str(value) for name, value in (fields | changes).items()}


def by_partition(records: Pairs, partitions: int) -> dict[int, list[tuple[bytes, bytes]]]:
    """Return records by the partition that their key belongs to, in order."""
    place = {key: (murmur2(key) & 0x7FFF_FFFF) % partitions for key in {key for key, _ in records}}
    found: dict[int, list[tuple[bytes, bytes]]] = {number: [] for number in range(partitions)}
    for record in records:
        found[place[record[0]]].append(record)
    return found


def load(settings: Settings, topic: str, records: Pairs, partitions: int) -> None:
    """Publish records and wait for them."""

    async def send() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.bootstrap, acks="all", max_batch_size=BATCH_BYTES,
            max_request_size=2 * BATCH_BYTES,
        )  # fmt: skip
        await producer.start()
        futures = []
        for number, mine in by_partition(records, partitions).items():
            at = 0
            while at < len(mine):
                builder = producer.create_batch()
                at = fill(builder, mine, at)
                futures.append(await producer.send_batch(builder, topic, partition=number))
        await asyncio.gather(*futures)
        await producer.stop()

    asyncio.run(send())


class Outputs:
    """Counts the records of a topic by its end offsets."""

    def __init__(self, settings: Settings, topic: str, partitions: int) -> None:
        self._consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap, enable_auto_commit=False)
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]

    def total(self) -> int:
        """Return how many records were ever written."""
        return int(sum(self._consumer.end_offsets(self._partitions).values()))

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


@contextmanager
def outputs(settings: Settings, topic: str, partitions: int) -> Iterator[Outputs]:
    """Yield a counter of a topic's records."""
    with closing(Outputs(settings, topic, partitions)) as counter:
        yield counter


def await_total(counter: Outputs, at_least: int, timeout_s: float, alive: Any = lambda: True) -> None:
    """Return when a topic holds `at_least` records.

    Raises:
      TimeoutError: it does not in time, or `alive` no longer holds.
    """
    deadline = time.monotonic() + timeout_s
    while counter.total() < at_least:
        if time.monotonic() > deadline or not alive():
            raise TimeoutError(f"{counter.total()} of {at_least} records")
        time.sleep(0.02)


__all__ = ["Outputs", "Topics", "await_total", "by_partition", "cluster", "environment", "load", "outputs"]
