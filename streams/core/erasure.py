"""Forgetting users. A `forget` event erases its user at its place in the stream; from then on the user's events do
nothing until a `consent` event.

What stays is a mark: a hash of the user, and the offset of the event that erased it. It keeps a replay from bringing
the user back, and keeps the user out until consent; the user's own records are withdrawn. A state or a chunk whose last
offset is not beyond the mark's is void, wherever it is found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from streams.core.events import Event, EventType, Record
from streams.core.plan import Arrivals

MARK_BYTES = 16
_OFFSET = struct.Struct("<q")
_RIGHTS = frozenset({EventType.FORGET, EventType.CONSENT})


class Erasure(Record, frozen=True):
    """A user was erased. Topic `erasures`, key `mark`.

    Feedback of the user's events up to `offset` in `partition` of `events` is void. `receipt` is the keyed hash under
    which receipts of it are filed.
    """

    mark: str
    receipt: str
    partition: int
    offset: int
    at_ms: int


class Receipt(Record, frozen=True):
    """What one part removed. Topic `erasure-receipts`, key: `receipt` and `part`.

    Attributes:
      receipt: a keyed hash of the user; who has the key can tell whose receipt it is.
      part: as `worker w1` or `trainer default`.
      partition, offset: of the event that asked for it.
      removed: counts by what it was.
      changelog: the changelog's partition, and the offsets [first, last) of the records that withdraw the user's.
    """

    receipt: str
    part: str
    partition: int
    offset: int
    at_ms: int
    removed: dict[str, int]
    changelog: tuple[int, int, int] | None = None


@dataclass
class Erased:
    """What an erasure did to the states of a partition.

    Attributes:
      keys: of the records that must be withdrawn from changelog and store.
      removed: counts for the receipt.
    """

    user_id: str
    offset: int
    at_ms: int
    keys: list[bytes] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)

    def records(self) -> dict[bytes, bytes | None]:
        """Return the mark and the withdrawals, in the order in which they must become durable."""
        mark = {mark_key(mark_of(self.user_id)): pack_mark(self.offset)}
        return {**mark, **dict.fromkeys(self.keys, None)}


def mark_of(user_id: str) -> bytes:
    """Return the mark of a user, as it is known inside."""
    return blake2b(user_id.encode(), digest_size=MARK_BYTES, person=b"forgotten").digest()


def mark_key(mark: bytes) -> bytes:
    """Return the key of a mark in the changelog and the store."""
    return b"f" + mark


def pack_mark(offset: int, scrubbed: bool = False) -> bytes:
    """Return the record of a mark; `scrubbed` tells that the store's files were rewritten since."""
    return _OFFSET.pack(offset) + b"\1" * scrubbed


def is_scrubbed(value: bytes) -> bool:
    """Tell whether the files of the store that holds this record were rewritten since."""
    return len(value) > _OFFSET.size


def mark_offset(value: bytes) -> int:
    """Return the offset in the record of a mark."""
    return int(_OFFSET.unpack_from(value)[0])


def user_of(key: bytes) -> str:
    """Return the user of a record's key in the changelog and the store, empty when it is of none."""
    if key[:1] in (b"u", b"d"):
        return key[1:].decode()
    return key[1:-1].decode() if key[:1] == b"s" else ""


def is_right(event: Event | None) -> bool:
    """Tell whether an event is about a user's rights over its data, and not about a video."""
    return event is not None and event.type in _RIGHTS


def parts_of(arrivals: Arrivals) -> Iterator[tuple[Arrivals, tuple[int, int, Event] | None]]:
    """Cut a batch behind each `forget`: yield what comes before it, and it; the last part has none.

    The event that forgets stays in the part after it as a tick, since it moves the watermark too.
    """
    rest: list[tuple[int, int, Event | None]] = []
    for offset, stamp, event in arrivals:
        if event is not None and event.type is EventType.FORGET:
            yield rest, (offset, stamp, event)
            rest = [(offset, stamp, None)]
        else:
            rest.append((offset, stamp, event))
    yield rest, None
