"""Stored states of earlier layouts, brought up to the present one a record at a time, and back.

A worker reads every layout from `OLDEST` on and converts a state when it is touched; what it writes is the present
layout, or an earlier one while workers that know no other still run. The first 40 bytes (`layout.Header`) mean the same
in all of them. A change of the row raises `LAYOUT` and adds a step here; `tests/data` keeps a record of each layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from streams.core.feedback import Impressions
from streams.core.layout import (
    LAYOUT,
    StateError,
    StateShape,
    Tail,
    fixed_size,
    header_of,
    pack_tail,
    row_type,
    tail_of,
    tail_start,
)

_HEADER = 40


class Step(NamedTuple):
    """From one layout to the next (`up`), and back (`down`), which may forget what only the newer one knows."""

    up: Callable[[bytes], bytes]
    down: Callable[[bytes], bytes]


def _with_minute(record: bytes) -> bytes:
    return record[:_HEADER] + bytes(8) + record[_HEADER:]


def _without_minute(record: bytes) -> bytes:
    return record[:_HEADER] + record[_HEADER + 8 :]


_impressions = msgspec.msgpack.Decoder(Impressions).decode
_encode = msgspec.msgpack.Encoder().encode


def _with_tail(record: bytes) -> bytes:
    start = tail_start(record)
    return record[:start] + pack_tail(Tail(_impressions(record[start:]))) if len(record) > start else record


def _without_tail(record: bytes) -> bytes:
    start, impressions = tail_start(record), tail_of(record).impressions
    return record[:start] + (_encode(impressions) if impressions else b"")


#: By the layout that a step leads away from.
STEPS: dict[int, Step] = {
    3: Step(_with_minute, _without_minute),  # the user's events of the running minute, behind the header
    4: Step(_with_tail, _without_tail),  # behind the seen videos not only impressions, but more of what few users have
}
OLDEST = min(STEPS)


def upgraded(record: bytes) -> bytes:
    """Return a stored state in the present layout; of a layout that is not known, as it is."""
    return _led(record, LAYOUT)


def downgraded(record: bytes, layout: int) -> bytes:
    """Return a stored state of the present layout in an earlier one.

    Raises:
      StateError: no step leads there.
    """
    if not OLDEST <= layout <= LAYOUT:
        raise StateError(f"states cannot be written in layout {layout}; there are {OLDEST} to {LAYOUT}")
    return _led(record, layout)


def relocated(record: bytes) -> bytes:
    """Return a stored state as it begins on another cluster: without what refers to offsets of the old one.

    Its last offset, the slates it remembers and its open impressions are left out; what the user said stays.

    Raises:
      StateError: it is of a layout that is not known.
    """
    record = upgraded(record)
    head = header_of(record)
    if head.layout != LAYOUT:
        raise StateError(f"a stored state has layout {head.layout}; {OLDEST} to {LAYOUT} can be read")
    shape = StateShape(head.hidden, head.recent, 1, 8 * head.mask_bytes, head.chunk)
    size = fixed_size(shape)
    row = np.zeros(1, row_type(shape))
    raw = row.view(np.uint8)
    raw[:size] = np.frombuffer(record, np.uint8, size)
    row["last_offset"], row["slate_offsets"], row["unlabelled"] = -1, -1, 0
    tail = tail_of(record)
    tail.impressions = []
    return raw[:size].tobytes() + record[size : tail_start(record)] + pack_tail(tail)


def _led(record: bytes, layout: int) -> bytes:
    at = record[0]
    while at != layout:
        step = STEPS.get(at if at < layout else at - 1)
        if step is None or at > LAYOUT:
            return record
        record = (step.up if at < layout else step.down)(record)
        at += 1 if at < layout else -1
        record = bytes((at,)) + record[1:]
    return record
