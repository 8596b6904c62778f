"""The stored form of a user state: one flat row of fixed size, then what varies; `docs/state.md` accounts for it.

A row in memory *is* the record: writing it is a copy of its bytes. Behind the fixed part stand the seen videos of the
chunk that is being filled and, where there is more to say of the user, a `Tail` as MessagePack.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from streams.core.behaviour import BEHAVIOUR_SIZE, NUMBERS
from streams.core.feedback import Impressions

LAYOUT = 5
SLATES_KEPT = 8  # a viewer's answers refer to one of the last slates
EVENT_WORDS = 3  # 48 bits of an event's key: of 10^9 events fewer than one in a thousand runs finds a false duplicate
_HEAD = struct.Struct("<4BH2Bi3I2q")
_encode = msgspec.msgpack.Encoder().encode


class Tail(msgspec.Struct, array_like=True):
    """What few users have, behind the seen videos of a record; a state without any of it has no tail.

    New fields are appended: a reader that does not know them passes over them, and one that misses them has defaults.

    Attributes:
      impressions: open ones, oldest first.
      profile: keys of the user's profile fields (`streams.core.profile`), ascending.
      follows, friends: keys of followed authors and of friends (`streams.core.ties`), oldest first.
    """

    impressions: Impressions = []
    profile: tuple[int, ...] = ()
    follows: tuple[int, ...] = ()
    friends: tuple[int, ...] = ()


_decode_tail = msgspec.msgpack.Decoder(Tail).decode


def pack_tail(tail: Tail) -> bytes:
    """Return a tail as it is stored: without the fields at its end that say nothing, and empty when none says any."""
    fields = [tail.impressions, tail.profile, tail.follows, tail.friends]
    while fields and not fields[-1]:
        fields.pop()
    return _encode(fields) if fields else b""


class StateError(Exception):
    """A stored state that this version cannot read; the message says why."""


@dataclass(frozen=True)
class StateShape:
    """Sizes of a state: H hidden, N recent steps.

    Attributes:
      seen: seen videos that are remembered at least; `chunk` of them are stored together.
      positions: most positions of a slate.
    """

    hidden: int
    recent: int
    seen: int
    positions: int = 24
    chunk: int = 64

    @property
    def chunks(self) -> int:
        """Full chunks that are kept."""
        return -(-self.seen // self.chunk)

    @property
    def mask_bytes(self) -> int:
        """Bytes of a slate's explored positions as bits."""
        return -(-self.positions // 8)

    def by_key(self, slots: int) -> bool:
        """Tell whether bits over a pool's slots would take more than the keys of the seen videos do."""
        return (slots + 7) // 8 > 4 * (self.chunks + 1) * self.chunk


@lru_cache
def row_type(shape: StateShape) -> np.dtype[Any]:
    """Return the dtype of a row; `seen` comes last, so that a record ends with what is filled of it.

    `spare` stands where alignment needs bytes: a gap that has no name is not copied, so its bytes would be anything.
    """
    gap = -(2 * shape.recent * (EVENT_WORDS + NUMBERS + 1) + SLATES_KEPT * shape.mask_bytes) % 4
    return np.dtype(
        [
            ("layout", "u1"), ("features", "u1"), ("recent", "u1"), ("chunk", "u1"),
            ("hidden_size", "<u2"), ("mask_bytes", "u1"), ("unlabelled", "u1"),
            ("model_version", "<i4"), ("steps", "<u4"), ("seen_count", "<u4"), ("slates", "<u4"),
            ("last_offset", "<i8"), ("last_step_ms", "<i8"),
            ("minute", "<u4"), ("minute_events", "<u4"),
            ("recent_videos", "<i8", (shape.recent,)),
            ("slate_offsets", "<i8", (SLATES_KEPT,)),
            ("hidden", "<f4", (shape.hidden,)),
            ("slate_chances", "<f4", (SLATES_KEPT,)), ("slate_rests", "<f4", (SLATES_KEPT,)),
            ("slate_versions", "<i4", (SLATES_KEPT,)),
            ("recent_events", "<u2", (shape.recent, EVENT_WORDS)),
            ("recent_numbers", "<f2", (shape.recent, NUMBERS)),
            ("recent_flags", "<u2", (shape.recent,)),
            ("slate_masks", "u1", (SLATES_KEPT, shape.mask_bytes)),
            ("spare", "u1", (gap,)),
            ("seen", "<u4", (shape.chunk,)),
        ],
        align=True,
    )  # fmt: skip


def fixed_size(shape: StateShape) -> int:
    """Return the bytes of the fixed part."""
    fields = row_type(shape).fields
    assert fields is not None
    return int(fields["seen"][1])


def blank(shape: StateShape) -> Any:
    """Return the row of a new user."""
    row = np.zeros(1, row_type(shape))
    row["layout"], row["features"], row["recent"], row["chunk"] = LAYOUT, BEHAVIOUR_SIZE, shape.recent, shape.chunk
    row["hidden_size"], row["mask_bytes"] = shape.hidden, shape.mask_bytes
    row["model_version"], row["last_offset"], row["slate_offsets"] = -1, -1, -1
    return row[0]


@dataclass(frozen=True)
class Header:
    """The header of a packed state."""

    layout: int
    features: int
    recent: int
    chunk: int
    hidden: int
    mask_bytes: int
    unlabelled: int
    model_version: int
    steps: int
    seen_count: int
    slates: int
    last_offset: int
    last_step_ms: int


def header_of(record: bytes) -> Header:
    """Return the header of a packed state.

    Raises:
      StateError: it is shorter than a header.
    """
    if len(record) < _HEAD.size:
        raise StateError(f"a stored state has {len(record)} bytes, fewer than its header")
    return Header(*_HEAD.unpack_from(record))


_OFFSET = struct.Struct("<q")


def last_offset_of(record: bytes) -> int:
    """Return the offset of the last event applied to a packed state."""
    if len(record) < _HEAD.size:
        raise StateError(f"a stored state has {len(record)} bytes, fewer than its header")
    return int(_OFFSET.unpack_from(record, 24)[0])


def steps_of(record: bytes) -> int:
    """Return the number of steps that a packed state ever made."""
    return header_of(record).steps


def is_unlabelled(record: bytes) -> bool:
    """Return whether a packed state has an impression without a label."""
    return record[7] != 0


def shape_of(record: bytes, expected: StateShape) -> StateShape:
    """Return the shape in which a state was packed.

    Raises:
      StateError: another layout, hidden size or behaviour features than expected.
    """
    head = header_of(record)
    if (head.layout, head.hidden, head.features) != (LAYOUT, expected.hidden, BEHAVIOUR_SIZE):
        raise StateError(
            f"a stored state has layout {head.layout}, H={head.hidden}, F={head.features}; this worker reads layout "
            f"{LAYOUT}, H={expected.hidden}, F={BEHAVIOUR_SIZE}: set FRESHLOOP_HIDDEN_SIZE back or start with a new "
            f"app_id"
        )
    if head.chunk != expected.chunk:
        raise StateError(f"a stored state keeps seen videos by {head.chunk}, not by {expected.chunk}")
    if (head.recent, head.mask_bytes) == (expected.recent, expected.mask_bytes):
        return expected
    return StateShape(head.hidden, head.recent, expected.seen, 8 * head.mask_bytes, head.chunk)


def tail_start(record: bytes) -> int:
    """Return where the tail of a packed state begins; the end of the record when it has none."""
    head = header_of(record)
    shape = StateShape(head.hidden, head.recent, 1, 8 * head.mask_bytes, head.chunk)
    return fixed_size(shape) + 4 * (head.seen_count % head.chunk)


def tail_of(record: bytes) -> Tail:
    """Return what a packed state says behind its seen videos."""
    tail = record[tail_start(record) :]
    return _decode_tail(tail) if tail else Tail()


def impressions_of(record: bytes) -> Impressions:
    """Return the open impressions of a packed state."""
    return tail_of(record).impressions


# -- keys in the store and in the changelog ------------------------------------------------------------------------


def user_key(user_id: str) -> bytes:
    """Return the key of a user's state."""
    return b"u" + user_id.encode()


def chunk_key(user_id: str, place: int) -> bytes:
    """Return the key of a full chunk of seen videos."""
    return b"s" + user_id.encode() + bytes((place,))


def pack_chunk(last_offset: int, keys: bytes) -> bytes:
    """Return a full chunk of seen videos as it is stored: the offset of the event that filled it, and the keys."""
    return _OFFSET.pack(last_offset) + keys


def seen_of_chunk(record: bytes) -> bytes:
    """Return the keys of a stored chunk."""
    return record[_OFFSET.size :]


def age_of(key: bytes, record: bytes) -> int:
    """Return the offset of the last event in a record, which rises from one record of a key to the next."""
    return last_offset_of(record) if key[:1] == b"u" else int(_OFFSET.unpack_from(record)[0])


def chunks_of(record: bytes, user_id: str, shape: StateShape) -> list[bytes]:
    """Return the keys of the full chunks that belong to a packed state, oldest first."""
    head = header_of(record)
    full = head.seen_count // head.chunk
    return [chunk_key(user_id, number % shape.chunks) for number in range(max(0, full - shape.chunks), full)]
