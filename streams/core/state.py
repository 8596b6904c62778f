"""User states as rows of matrices: hidden state, recent steps, seen videos and open impressions.

One `UserStates` holds the states of one partition that are in memory. A row becomes one flat record (`pack`) in the
changelog and the store, and comes back from it to the bit (`load`).
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.feedback import Pending
from streams.core.ports import Floats

LAYOUT = 1
_HEADER = struct.Struct("<BHBHqqqqII")  # layout, H, recent, F, version, last offset, last step ms, steps, seen, pending
_pending_decoder = msgspec.msgpack.Decoder(Pending)
_pending_encoder = msgspec.msgpack.Encoder()


class StateError(Exception):
    """A stored state that this version cannot read; the message says why."""


@dataclass(frozen=True)
class StateShape:
    """Sizes of a state: H hidden, N recent steps, M seen videos."""

    hidden: int
    recent: int
    seen: int


class UserStates:
    """States of users by row.

    Attributes:
      hidden: float32 [R, H]; valid only with `model_version` of the same row.
      model_version: int64 [R]; -1 for a user without a step.
      last_offset: int64 [R]; the last event applied, -1 for none. Events at or below it change nothing.
      last_step_ms: int64 [R]; time of the last step.
      steps: int64 [R]; steps ever made; the newest recent step stands at `(steps - 1) % N`.
      recent_keys, recent_events: int64 [R, N]; video and event of recent steps, as 64-bit keys.
      recent_behaviour: float16 [R, N, F].
      seen_count: int64 [R]; videos ever seen; `seen` [R, M] is a ring of their keys.
      seen_bits: uint8 [R, S/8]; the seen videos as bits over the pool's slots.
    """

    def __init__(self, shape: StateShape, slots: int) -> None:
        self.shape = shape
        self._slot_bytes = (slots + 7) // 8
        self._rows: OrderedDict[str, int] = OrderedDict()
        self._free: list[int] = []
        self._capacity = 0
        self._users: list[str] = []
        self.pending: list[Pending] = []
        self.hidden: Floats = np.zeros((0, shape.hidden), np.float32)
        self.model_version = np.zeros(0, np.int64)
        self.last_offset = np.zeros(0, np.int64)
        self.last_step_ms = np.zeros(0, np.int64)
        self.steps = np.zeros(0, np.int64)
        self.recent_keys = np.zeros((0, shape.recent), np.int64)
        self.recent_events = np.zeros((0, shape.recent), np.int64)
        self.recent_behaviour = np.zeros((0, shape.recent, BEHAVIOUR_SIZE), np.float16)
        self.seen_count = np.zeros(0, np.int64)
        self.seen = np.zeros((0, shape.seen), np.int64)
        self.seen_bits = np.zeros((0, self._slot_bytes), np.uint8)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._rows

    def row(self, user_id: str) -> int:
        """Return the row of a user, made empty when the user is new, and mark it as used last."""
        row = self._rows.get(user_id)
        if row is None:
            return self._claim(user_id)
        self._rows.move_to_end(user_id)
        return row

    def missing(self, users: Iterable[str]) -> list[str]:
        """Return those users that have no row, each once, in order."""
        return [user for user in dict.fromkeys(users) if user not in self._rows]

    def oldest(self, keep: int) -> list[str]:
        """Return the users beyond `keep`, least recently used first."""
        excess = len(self._rows) - keep
        return [user for user, _ in zip(self._rows, range(excess), strict=False)] if excess > 0 else []

    def drop(self, users: Iterable[str]) -> None:
        """Forget users; their rows are used again."""
        for user in users:
            row = self._rows.pop(user, None)
            if row is not None:
                self._free.append(row)

    def clear_slots(self, slots: Sequence[int]) -> None:
        """Clear the seen bits of pool slots that now belong to another video."""
        for slot in slots:
            self.seen_bits[:, slot >> 3] &= np.uint8(0xFF ^ (1 << (slot & 7)))

    def mark_seen(self, row: int, key: int, slot: int) -> None:
        """Remember that the user of `row` has seen a video, given its key and slot (-1 when not in the pool)."""
        if slot >= 0:
            self.seen_bits[row, slot >> 3] |= np.uint8(1 << (slot & 7))
        if (self.seen[row, : self.seen_count[row]] == key).any():
            return
        position = int(self.seen_count[row]) % self.shape.seen
        self.seen[row, position] = key
        self.seen_count[row] += 1

    def mark_slots(self, row: int, slots: NDArray[np.int64]) -> None:
        """Set the seen bits of `slots` for a row that has just been loaded; -1 is passed over."""
        known = slots[slots >= 0]
        np.bitwise_or.at(self.seen_bits[row], known >> 3, np.left_shift(1, known & 7).astype(np.uint8))

    def seen_keys(self, row: int) -> NDArray[np.int64]:
        """Return the keys of seen videos that are remembered, oldest first."""
        return _unroll(self.seen[row], int(self.seen_count[row]))

    def recent_order(self, row: int) -> NDArray[np.int64]:
        """Return positions of the recent steps, oldest first."""
        return _unroll(np.arange(self.shape.recent), int(self.steps[row]))

    def pack(self, user_id: str) -> bytes:
        """Return the state of a user as one flat record."""
        row = self._rows[user_id]
        order = self.recent_order(row)
        seen = self.seen_keys(row)
        pending = _pending_encoder.encode(self.pending[row])
        header = _HEADER.pack(
            LAYOUT, self.shape.hidden, len(order), BEHAVIOUR_SIZE, self.model_version[row], self.last_offset[row],
            self.last_step_ms[row], self.steps[row], len(seen), len(pending),
        )  # fmt: skip
        return b"".join(
            (
                header,
                self.hidden[row].tobytes(),
                self.recent_keys[row, order].tobytes(),
                self.recent_events[row, order].tobytes(),
                self.recent_behaviour[row, order].tobytes(),
                seen.tobytes(),
                pending,
            )
        )

    def load(self, user_id: str, record: bytes) -> int:
        """Put a stored state into a row; return the row. Seen bits are the caller's to set (`mark_slots`).

        Raises:
          StateError: the record has another layout or another hidden size.
        """
        layout, hidden, recent, features, version, offset, step_ms, steps, seen, pending = _header(record)
        if (layout, hidden, features) != (LAYOUT, self.shape.hidden, BEHAVIOUR_SIZE):
            raise StateError(
                f"a stored state has layout {layout}, H={hidden}, F={features}; this worker reads layout {LAYOUT}, "
                f"H={self.shape.hidden}, F={BEHAVIOUR_SIZE}: set FRESHLOOP_HIDDEN_SIZE back or start with a new app_id"
            )
        row = self._claim(user_id)
        at = _HEADER.size
        self.hidden[row] = np.frombuffer(record, np.float32, hidden, at)
        at += 4 * hidden
        keep = min(recent, self.shape.recent)
        keys = np.frombuffer(record, np.int64, recent, at)[recent - keep :]
        events = np.frombuffer(record, np.int64, recent, at + 8 * recent)[recent - keep :]
        at += 16 * recent
        inputs = np.frombuffer(record, np.float16, recent * features, at).reshape(recent, features)[recent - keep :]
        at += 2 * recent * features
        place = np.arange(steps - keep, steps) % self.shape.recent
        self.recent_keys[row, place], self.recent_events[row, place] = keys, events
        self.recent_behaviour[row, place] = inputs
        kept = np.frombuffer(record, np.int64, seen, at)[-self.shape.seen :]
        self.seen[row, : len(kept)] = kept
        self.seen_count[row] = len(kept)
        at += 8 * seen
        self.pending[row] = _pending_decoder.decode(record[at : at + pending])
        self.model_version[row], self.last_offset[row] = version, offset
        self.last_step_ms[row], self.steps[row] = step_ms, steps
        return row

    def _claim(self, user_id: str) -> int:
        if not self._free:
            self._grow()
        row = self._free.pop()
        self._rows[user_id] = row
        self._users[row] = user_id
        self.pending[row] = Pending()
        for column in (self.hidden, self.last_step_ms, self.steps, self.seen_count, self.seen_bits):
            column[row] = 0
        self.model_version[row] = -1
        self.last_offset[row] = -1
        self.recent_keys[row] = 0
        self.recent_events[row] = 0
        return row

    def _grow(self) -> None:
        old, self._capacity = self._capacity, max(256, 2 * self._capacity)
        added = self._capacity - old
        for name in (
            "hidden", "model_version", "last_offset", "last_step_ms", "steps", "recent_keys", "recent_events",
            "recent_behaviour", "seen_count", "seen", "seen_bits",
        ):  # fmt: skip
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros((added, *column.shape[1:]), column.dtype)]))
        self._users.extend([""] * added)
        self.pending.extend(Pending() for _ in range(added))
        self._free.extend(range(self._capacity - 1, old - 1, -1))


def last_offset_of(record: bytes) -> int:
    """Return the offset of the last event applied to a packed state."""
    return int(_header(record)[5])


def steps_of(record: bytes) -> int:
    """Return the number of steps that a packed state ever made."""
    return int(_header(record)[7])


def pending_of(record: bytes) -> Pending:
    """Return the open impressions of a packed state."""
    size = int(_header(record)[9])
    return _pending_decoder.decode(record[len(record) - size :])


def _header(record: bytes) -> tuple[int, ...]:
    if len(record) < _HEADER.size:
        raise StateError(f"a stored state has {len(record)} bytes, fewer than its header")
    return _HEADER.unpack_from(record)


def _unroll(ring: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    size = len(ring)
    return ring[:count] if count <= size else np.roll(ring, -(count % size))
