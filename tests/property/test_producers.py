"""What must hold for any id and any log row."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as murmur2_of_kafka_python

from producers.lines import Damage
from producers.logs import InteractionsLog
from streams.codecs import Decoder, encode
from streams.core.events import Event

PARTITIONS = list(range(12))
decode = Decoder(Event)


@given(st.text(min_size=1, max_size=128))
def test_both_clients_put_a_user_on_the_same_partition(user):
    key = user.encode("utf-8", "surrogatepass")
    mine = (murmur2_of_kafka_python(key) & 0x7FFFFFFF) % len(PARTITIONS)
    assert mine == DefaultPartitioner()(key, PARTITIONS, PARTITIONS)


def test_the_partitioner_is_javas_murmur2():
    """Known answers of Kafka's own `Utils.murmur2` tests."""
    answers = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key, answer in answers.items():
        assert murmur2_of_kafka_python(key) == answer & 0xFFFFFFFF


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_give_valid_events_or_damage(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        path.write_bytes(b"user,item,time\n" + b"\n".join(rows) + b"\nu,i,1650812741\n")
        damage = Damage()
        events = list(InteractionsLog(path, time_unit="s").events("run", damage))
    assert events[-1].user_id == "u"
    assert all(decode(encode(event)) == event for event in events)
