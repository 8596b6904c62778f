"""A topic as it is now, over kafka-python: its records up to the end that it had when it was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streams.config import ConfigError, Settings
from streams.security import kafka_options, refusals_said

QUIET_S = 30.0  # without a record where some must be
_POLL_MS = 200
_LARGEST = 4 << 20  # bytes in one fetch of a partition; every topic takes less for a record


def read_topic(
    settings: Settings,
    topic: str,
    partitions: int,
    check_crcs: bool = True,
    start: Callable[[int, int], int] = lambda begin, end: begin,
) -> Iterator[Any]:
    """Yield kafka-python's records of all partitions, each partition in order.

    Args:
      check_crcs: again, in pure Python, what the broker has checked: nine tenths of the time.
      start: given a partition's first offset and its end, returns where to begin.
    Raises:
      ConfigError: the cluster does not answer, does not let us, or gives no records for 30 s.
    """
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    with refusals_said(settings), closing(reader(settings, check_crcs)) as consumer:
        consumer.assign(tps)
        begins, ends = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
        for tp in tps:
            consumer.seek(tp, start(begins[tp], ends[tp]))
        yield from read_until(consumer, ends, settings)


def reader(settings: Settings, check_crcs: bool) -> Any:
    """Return a consumer without a group."""
    return KafkaConsumer(
        **kafka_options(settings), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
        max_poll_records=5000, max_partition_fetch_bytes=_LARGEST, fetch_max_wait_ms=100, check_crcs=check_crcs,
        metrics_enabled=False,
    )  # fmt: skip


def read_until(consumer: Any, ends: Mapping[Any, int], settings: Settings) -> Iterator[Any]:
    """Yield the records of assigned partitions below their `ends` (compaction may have left fewer).

    Raises:
      ConfigError: no records come for 30 s.
    """
    heard = time.monotonic()
    while any(consumer.position(tp) < end for tp, end in ends.items()):
        for tp, records in consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                if record.offset < ends[tp]:
                    yield record
            heard = time.monotonic()  # the time that the caller takes is not the cluster's
        if time.monotonic() - heard > QUIET_S:
            topics = ", ".join(sorted({tp.topic for tp in ends}))
            raise ConfigError(f"topic {topics} at {settings.bootstrap} gives no records; try again")
