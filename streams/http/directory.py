"""Which worker answers for which partition.

Each worker announces the partitions it took over on a compacted topic, and every worker reads that topic whole. The
last announcement of a partition holds; one that is out of date leads to a worker that knows it does not own it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streams.codecs import BadRecord, Decoder, encode
from streams.core.events import Record, TimeMs
from streams.publisher import Out
from streams.topics import partition_of_key


class Announcement(Record, frozen=True):
    """A worker answers for a partition. Topic `workers`, key: the partition's number.

    An empty `url` means that the worker serves no API.
    """

    partition: Annotated[int, Meta(ge=0)]
    worker: str
    url: Annotated[str, Meta(pattern=r"^(https?://[^\s/?#@]+)?$", max_length=300)]
    at_ms: TimeMs


_decode = Decoder(Announcement)


def partition_of(user_id: str, partitions: int) -> int:
    """Return the partition of a user: murmur2 of the UTF-8 id, as every Kafka client of ours computes it."""
    return partition_of_key(user_id.encode(), partitions)


def announcements(partitions: Iterable[int], worker: str, url: str, now_ms: int) -> list[Out]:
    """Return the records that announce a worker."""
    return [
        Out(str(number).encode(), encode(Announcement(partition=number, worker=worker, url=url, at_ms=now_ms)))
        for number in sorted(partitions)
    ]


class Directory:
    """The newest announcement of each partition."""

    def __init__(self) -> None:
        self._known: dict[int, Announcement] = {}

    def feed(self, records: Sequence[Any]) -> None:
        """Take records of the `workers` topic, in order; what cannot be read changes nothing."""
        for record in records:
            try:
                found = _decode(record.value)
            except BadRecord:
                continue
            if record.key == str(found.partition).encode():
                self._known[found.partition] = found

    def owner(self, partition: int) -> Announcement | None:
        """Return who announced a partition last."""
        return self._known.get(partition)

    def as_list(self) -> list[dict[str, Any]]:
        """Return all announcements, ready for JSON, by partition."""
        return [msgspec.structs.asdict(self._known[number]) for number in sorted(self._known)]
