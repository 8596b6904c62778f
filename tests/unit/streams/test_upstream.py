"""Fails when what `streams/batches.py` replaces or relies on in Faust changes, so that someone looks."""

from __future__ import annotations

import hashlib
import inspect

import pytest
from faust import App
from faust.topics import Topic
from faust.transport.consumer import Consumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as AIOKafkaConsumer

KNOWN = {
    "Consumer.ack": (Consumer.ack, "5fcf41cf45153475"),
    "Consumer._new_offset": (Consumer._new_offset, "1d2c7ea89a7ad4f1"),
    "Consumer._add_gap": (Consumer._add_gap, "4df2573ded7c1c2c"),
    "Consumer._filter_tps_with_pending_acks": (Consumer._filter_tps_with_pending_acks, "f6f9239774234e7e"),
    "Consumer.perform_seek": (Consumer.perform_seek, "0e8c130ff4b0afd8"),
    "Consumer.on_partitions_revoked": (Consumer.on_partitions_revoked, "d04b7ae72c6fc206"),
    "Consumer.getmany": (Consumer.getmany, "4b168d84882a70d6"),
    "Consumer._drain_messages": (Consumer._drain_messages, "44a2500309e83c63"),
    "Consumer._commit_tps": (Consumer._commit_tps, "a20e230b05ae8b15"),
    "Consumer._commit_offsets": (Consumer._commit_offsets, "1a69799041188441"),
    "Consumer._wait_for_ack": (Consumer._wait_for_ack, "d9c9337d4af88e54"),
    "Consumer.wait_empty": (Consumer.wait_empty, "e4662fe24f094819"),
    "AIOKafkaConsumer._new_consumer_thread": (AIOKafkaConsumer._new_consumer_thread, "0870ec53dea75083"),
    "AIOKafkaConsumer._to_message": (AIOKafkaConsumer._to_message, "7c24f6511b2fcef7"),
    "AIOKafkaConsumerThread._fetch_records": (AIOKafkaConsumerThread._fetch_records, "39a2c6c79fc1455a"),
    "AIOKafkaConsumerThread.getmany": (AIOKafkaConsumerThread.getmany, "26fc5fc9f3b667e1"),
    "Topic._compile_decode": (Topic._compile_decode, "6474178f8c211c05"),
    "App._new_transport": (App._new_transport, "42db531312dd776f"),
    "App._on_partitions_assigned": (App._on_partitions_assigned, "de932b7927db85b3"),
    "App.on_rebalance_end": (App.on_rebalance_end, "b7ff69e1e3772f30"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_source_is_the_one_that_was_read(name):
    what, expected = KNOWN[name]
    found = hashlib.sha256(inspect.getsource(what).encode()).hexdigest()[:16]
    assert found == expected, f"{name} changed: read it again, mend streams/batches.py, then note {found} here"
