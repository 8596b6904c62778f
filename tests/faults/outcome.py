"""What came of a scenario's events, as the topics and a worker's store have it, and its comparison with the oracle."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import rocksdb
from kafka import KafkaConsumer, TopicPartition

from streams.codecs import Decoder
from streams.config import Settings
from streams.core.events import Feedback, Slate
from streams.core.layout import is_unlabelled
from streams.intake import TICK
from streams.journal import JOURNAL_KEY, decode_entry
from streams.state_store import META_KEY, Meta
from streams.topics import Topics
from tests.faults.oracle import Oracle

slate_of, feedback_of = Decoder(Slate), Decoder(Feedback)
meta_of = msgspec.msgpack.Decoder(Meta).decode


@dataclass
class Tally:
    """What differs from the oracle: missing, there and not expected, and of another content."""

    lost: int = 0
    doubled: int = 0
    differs: int = 0

    def compare(self, what: str, found: dict, expected: dict) -> None:
        """Count the differences of two mappings, and show a few."""
        lost, doubled = expected.keys() - found.keys(), found.keys() - expected.keys()
        differs = [key for key, value in expected.items() if key in found and found[key] != value]
        self.lost, self.doubled, self.differs = (
            self.lost + len(lost), self.doubled + len(doubled), self.differs + len(differs)
        )  # fmt: skip
        for verdict, keys in (("lost", lost), ("doubled", doubled), ("differs", differs)):
            for key in list(keys)[:2]:
                print(f"{what} {verdict}: {key!r}", file=sys.stderr)
                if verdict == "differs":
                    print(f"  found    {found[key]!r:.1000}\n  expected {expected[key]!r:.1000}", file=sys.stderr)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.lost + other.lost, self.doubled + other.doubled, self.differs + other.differs)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.differs)


class Tail:
    """Reads a topic on from where it was."""

    def __init__(self, settings: Settings, topic: str) -> None:
        count = next(spec.partitions for spec in Topics(settings).specs() if spec.name == topic)
        self._partitions = [TopicPartition(topic, number) for number in range(count)]
        self._settings = settings
        self._at = dict.fromkeys(self._partitions, 0)

    def read(self) -> dict[int, list[Any]]:
        """Return the records that came since the last call, by partition."""
        found: dict[int, list[Any]] = {tp.partition: [] for tp in self._partitions}
        with closing(KafkaConsumer(bootstrap_servers=self._settings.bootstrap, enable_auto_commit=False)) as consumer:
            consumer.assign(self._partitions)
            ends = consumer.end_offsets(self._partitions)
            for tp in self._partitions:
                consumer.seek(tp, self._at[tp])
            deadline = time.monotonic() + 60
            while any(consumer.position(tp) < ends[tp] for tp in self._partitions):
                assert time.monotonic() < deadline, f"{self._partitions[0].topic} cannot be read to its end"
                for tp, records in consumer.poll(500, max_records=5000).items():
                    found[tp.partition] += records
            self._at = {tp: consumer.position(tp) for tp in self._partitions}
        return found


class Outcome:
    """What was published and stored so far.

    Attributes:
      oracle: what must have come of it; changelog: by partition, as compaction keeps it.
    """

    def __init__(self, settings: Settings, events_id: str) -> None:
        self._topics, self._partitions = Topics(settings), settings.partitions
        self._tails = {
            name: Tail(settings, name)
            for name in (
                self._topics.events, self._topics.recommendations, self._topics.feedback, self._topics.dead_letters,
                self._topics.states, self._topics.videos, self._topics.vectors, self._topics.models,
            )
        }  # fmt: skip
        self.oracle = Oracle(settings, events_id)
        self._slates: dict[str, bytes] = {}
        self._feedback: dict[tuple[str, int, int, bool], bytes] = {}
        self._dead: set[tuple[int, int]] = set()
        self.changelog: dict[int, dict[bytes, bytes]] = {number: {} for number in range(settings.partitions)}
        self._pending: dict[int, list[Any]] = {number: [] for number in range(settings.partitions)}
        self._wrong = Tally()

    def verify(self, folder: Path) -> Tally:
        """Compare everything that was published so far, and a stopped worker's store in a folder, with the oracle."""
        metas = {number: _meta(folder / f"p{number}") for number in range(self._partitions)}
        tally = Tally()
        self.read()
        for number, records in self._tails[self._topics.events].read().items():
            self._pending[number] += records
            applied = [record for record in self._pending[number] if record.offset < metas[number].applied_through]
            rest = self._pending[number] = self._pending[number][len(applied) :]
            tally.lost += sum(tuple(record.headers) != TICK for record in rest)
            if applied:
                self.oracle.feed(number, applied)
        tally.compare("slates", self._slates, self.oracle.slates)
        tally.compare("feedback", self._feedback, self.oracle.feedback)
        tally.compare("dead letters", dict.fromkeys(self._dead), dict.fromkeys(self.oracle.dead))
        for number in range(self._partitions):
            records = _store(folder / f"p{number}")
            marks = {key[1:] for key in records if key[:1] == b"d"}
            found = {key: value for key, value in records.items() if key[:1] in (b"u", b"s")}
            tally.compare("store", found, self.oracle.states[number])
            tally.compare("changelog", self.changelog[number], self.oracle.states[number])  # as compaction keeps it
            tally.compare(
                "marks",
                dict.fromkeys(marks),
                {key[1:]: None for key, value in found.items() if key[:1] == b"u" and is_unlabelled(value)},
            )
        return tally + self._wrong

    def read(self) -> None:
        """Take over what was published since the last call."""
        for records in self._tails[self._topics.recommendations].read().values():
            for record in records:
                slate_id = slate_of(record.value).slate_id
                first = self._slates.setdefault(slate_id, record.value)
                self._wrong.compare("slates again", {slate_id: record.value}, {slate_id: first})
        for records in self._tails[self._topics.feedback].read().values():
            for record in records:
                one = feedback_of(record.value)
                key = one.impression_id, one.revision, one.offset, one.provisional
                first = self._feedback.setdefault(key, record.value)
                self._wrong.compare("feedback again", {key: record.value}, {key: first})
        for number, records in self._tails[self._topics.states].read().items():
            self.changelog[number].update((r.key, r.value) for r in records if r.key[:1] in (b"u", b"s"))
            for record in records:
                if record.key[:1] == JOURNAL_KEY:
                    self.oracle.note(number, decode_entry(record.value))
        self.oracle.take_models(self._tails[self._topics.models].read()[0])
        self.oracle.videos += self._tails[self._topics.videos].read()[0]
        self.oracle.vectors += self._tails[self._topics.vectors].read()[0]
        for record in self._tails[self._topics.dead_letters].read()[0]:
            headers = dict(record.headers)
            self._dead.add((int(headers["partition"]), int(headers["offset"])))


def _store(folder: Path) -> dict[bytes, bytes]:
    db = rocksdb.DB(str(folder), rocksdb.Options(create_if_missing=False), read_only=True)
    items = db.iteritems()
    items.seek_to_first()
    found = dict(items)
    del items
    db.close()
    return found


def _meta(folder: Path) -> Meta:
    if not folder.exists():
        return Meta()
    value = _store(folder).get(META_KEY)
    return meta_of(value) if value else Meta()
