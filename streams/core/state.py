"""User states as rows of one table: hidden state, recent steps, slates, seen videos and open impressions.

One `UserStates` holds the states of one partition that are in memory. A row becomes a flat record (`pack`) in the
changelog and the store, and comes back from it to the bit (`load`); see `streams.core.layout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.extras import Extras
from streams.core.layout import (
    EVENT_WORDS,
    SLATES_KEPT,
    StateError,
    StateShape,
    Tail,
    blank,
    chunk_key,
    chunks_of,
    fixed_size,
    last_offset_of,
    pack_chunk,
    pack_tail,
    row_type,
    seen_of_chunk,
    shape_of,
    steps_of,
    tail_of,
    user_key,
)
from streams.core.migration import upgraded
from streams.core.pool import FreshPool

Ints = NDArray[np.int64]
_LEAST_ROWS = 256


class UserStates(Extras):
    """States of users by row.

    Attributes:
      table: [R] rows; its columns, as `table["hidden"]`, are
        hidden: float32 [R, H], valid only with `model_version` of the same row, which is -1 without a step;
        last_offset: the last event applied, -1 for none; events at or below it change nothing;
        minute, minute_events: minute of the watermark in which the user's last event came, and its events so far;
        last_step_ms, steps: time of the last step, and steps ever made; the newest stands at `(steps - 1) % N`;
        recent_videos int64 [R, N], recent_events uint16 [R, N, 3], recent_numbers, recent_flags: the recent steps;
        slates, slate_*: slates ever made, and the last 8: offset, model version, explored positions, propensities;
        seen_count, seen: videos ever seen, and those of the chunk that is being filled.
      by_key: whether the pool has so many slots that bits would take more than the keys of the seen videos do.
      seen_bits: uint8 [R, S/8]; the seen videos as bits over the pool's slots; [R, 0] with `by_key`.
    """

    def __init__(self, shape: StateShape, pool: FreshPool) -> None:
        super().__init__()
        self.shape = shape
        self._pool = pool
        self._blank = blank(shape)
        self._fixed = fixed_size(shape)
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._users: list[str] = []
        self._chunks: dict[int, list[bytes]] = {}  # full chunks by row, oldest first
        self._filled: dict[bytes, bytes] = {}  # chunks to be stored with the next `pack`
        self._unplaced: dict[int, set[int]] = {}  # rows that saw a video which has no slot, by seen key
        self.table: NDArray[Any] = np.zeros(0, row_type(shape))
        self.by_key = shape.by_key(pool.capacity)
        self.seen_bits = np.zeros((0, 0 if self.by_key else (pool.capacity + 7) // 8), np.uint8)
        self._used = np.zeros(0, np.int64)
        self._turn = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._rows

    # -- rows -------------------------------------------------------------------------------------------------------

    def rows(self, users: Sequence[str]) -> Ints:
        """Return the rows of users, made empty where a user is new, and mark them as used last."""
        get = self._rows.get
        found = [get(user, -1) for user in users]
        if -1 in found:
            found = [row if row >= 0 else self._row(user) for row, user in zip(found, users, strict=True)]
        rows = np.array(found, np.int64)
        self._turn += 1
        self._used[rows] = self._turn
        return rows

    def row(self, user_id: str) -> int:
        """Return the row of a user, made empty when the user is new."""
        return int(self.rows([user_id])[0])

    def user(self, row: int) -> str:
        """Return the user of a row."""
        return self._users[row]

    def missing(self, users: Iterable[str]) -> list[str]:
        """Return those users that have no row, each once, in order."""
        return [user for user in dict.fromkeys(users) if user not in self._rows]

    def oldest(self, keep: int) -> list[str]:
        """Return the least recently used users when there are more than `keep`: those beyond, and 5 % more."""
        if len(self._rows) <= keep:
            return []
        rows = np.fromiter(self._rows.values(), np.int64, len(self._rows))
        excess = len(rows) - keep + keep // 20
        order = np.argsort(self._used[rows], kind="stable")[:excess]
        return [self._users[row] for row in rows[order].tolist()]

    def drop(self, users: Iterable[str]) -> None:
        """Forget users; their rows are used again."""
        for user in users:
            row = self._rows.pop(user, None)
            if row is not None:
                self._free.append(row)
                self._forget_unplaced(row)
                self.set_extras(row, Tail())
                self._chunks.pop(row, None)

    def forget(self, user_id: str) -> tuple[list[bytes], dict[str, int]]:
        """Remove a user and leave nothing of it behind; return the keys of its records, and what there was."""
        keys, removed = [user_key(user_id)], {}
        row = self._rows.get(user_id)
        if row is not None:
            state = self.table[row]
            removed = {
                "recent_steps": min(int(state["steps"]), self.shape.recent), "seen_videos": len(self.seen_keys(row)),
                "open_impressions": len(self.impressions.get(row, ())),
                "remembered_slates": min(int(state["slates"]), SLATES_KEPT),
            }  # fmt: skip
            removed |= self.count_extras(row)
            full = int(state["seen_count"]) // self.shape.chunk
            kept = range(max(0, full - self.shape.chunks), full)
            keys += [chunk_key(user_id, number % self.shape.chunks) for number in kept]
            self.drop([user_id])
            self.table[row], self.seen_bits[row], self._users[row] = self._blank, 0, ""
        for key in [key for key in self._filled if key[1:-1] == user_id.encode()]:
            keys.append(key)
            del self._filled[key]
        return list(dict.fromkeys(keys)), removed

    def _forget_unplaced(self, row: int) -> None:
        if not self._unplaced:
            return
        for low in self.seen_keys(row).tolist():
            if (rows := self._unplaced.get(low)) is not None:
                rows.discard(row)
                if not rows:
                    del self._unplaced[low]

    def _row(self, user_id: str) -> int:
        row = self._rows.get(user_id)
        return self._claim(user_id) if row is None else row

    def _claim(self, user_id: str) -> int:
        if not self._free:
            self._grow()
        row = self._free.pop()
        self._rows[user_id] = row
        self._users[row] = user_id
        self.table[row] = self._blank
        self.seen_bits[row] = 0
        return row

    def _grow(self) -> None:
        old = len(self.table)
        added = max(_LEAST_ROWS, old // 2)
        for name in ("table", "seen_bits", "has_open", "has_profile", "has_ties", "_used"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros((added, *column.shape[1:]), column.dtype)]))
        self._users.extend([""] * added)
        self._free.extend(range(old + added - 1, old - 1, -1))

    # -- seen videos ------------------------------------------------------------------------------------------------

    def mark_seen(self, rows: Ints, slots: Ints, keys: Ints) -> None:
        """Remember that the users of distinct rows [B] have seen videos, given by slot (-1: not in the pool) and key.

        A video counts as seen when the low 32 bits of its key are among those remembered.
        """
        if self.by_key:
            fresh = [not self._holds(row, key) for row, key in zip(rows.tolist(), keys.tolist(), strict=True)]
            self._append(rows[fresh], keys[fresh])
            return
        placed = slots >= 0
        at, bit = slots >> 3, np.left_shift(1, slots & 7).astype(np.uint8)
        new = (self.seen_bits[rows, at] & bit) == 0
        if not placed.all():
            new[~placed] = [not self._holds(row, key) for row, key in _pairs(rows, keys, ~placed)]
            for row, key in _pairs(rows, keys, ~placed):
                self._unplaced.setdefault(key & _LOW, set()).add(row)
                self._set_bits(row, self._pool.slots_of_low(key & _LOW))
        some = placed & new
        self.seen_bits[rows[some], at[some]] |= bit[some]
        if self._pool.twins:
            for row, key in _pairs(rows, keys, some):
                self._set_bits(row, self._pool.twins.get(key & _LOW, ()))
        self._append(rows[new], keys[new])

    def _append(self, rows: Ints, keys: Ints) -> None:
        table, chunk = self.table, self.shape.chunk
        count = table["seen_count"][rows].astype(np.int64)
        table["seen"][rows, count % chunk] = (keys & _LOW).astype(np.uint32)
        count += 1
        table["seen_count"][rows] = count
        for row in rows[count % chunk == 0].tolist():
            self._fill(row)

    def _fill(self, row: int) -> None:
        """Put the full chunk of a row aside; the oldest one is forgotten when there are too many."""
        keys = self.table["seen"][row].tobytes()
        number = int(self.table["seen_count"][row]) // self.shape.chunk - 1
        key = chunk_key(self._users[row], number % self.shape.chunks)
        self._filled[key] = pack_chunk(int(self.table["last_offset"][row]), keys)
        chunks = self._chunks.setdefault(row, [])
        chunks.append(keys)
        if len(chunks) > self.shape.chunks:
            forgotten = np.frombuffer(chunks.pop(0), np.uint32)
            if self.by_key:
                return
            gone = forgotten[~np.isin(forgotten, self._kept(row))]
            for key in gone.tolist():
                for slot in self._pool.slots_of_low(key):
                    self.seen_bits[row, slot >> 3] &= np.uint8(0xFF ^ (1 << (slot & 7)))

    def seen_of(self, rows: Ints, size: int) -> NDArray[np.uint8] | list[NDArray[np.uint32]]:
        """Return what rows [B] have seen, as bits [B, size] or as keys, as copies."""
        if self.by_key:
            return [self.seen_keys(row) for row in rows.tolist()]
        found: NDArray[np.uint8] = self.seen_bits[rows, :size]
        return found

    def seen_keys(self, row: int) -> NDArray[np.uint32]:
        """Return the low 32 bits of the keys of seen videos that are remembered, oldest first."""
        count = int(self.table["seen_count"][row]) % self.shape.chunk
        return np.concatenate([self._kept(row), self.table["seen"][row, :count]])

    def _kept(self, row: int) -> NDArray[np.uint32]:
        return np.frombuffer(b"".join(self._chunks.get(row, ())), np.uint32)

    def _holds(self, row: int, key: int) -> bool:
        return bool((self.seen_keys(row) == np.uint32(key & _LOW)).any())

    def _set_bits(self, row: int, slots: Iterable[int]) -> None:
        for slot in slots:
            self.seen_bits[row, slot >> 3] |= np.uint8(1 << (slot & 7))

    def place(self, slots: Sequence[int], owners: Sequence[int]) -> None:
        """Set the seen bits of pool slots anew that have just been given to videos.

        Args:
          owners: per slot the key of the video that had it before, 0 for none.
        """
        if self.by_key:
            return
        for slot, owner in zip(slots, owners, strict=True):
            if owner:
                column = self.seen_bits[:, slot >> 3]
                had = np.flatnonzero(column & (1 << (slot & 7))).tolist()
                column &= np.uint8(0xFF ^ (1 << (slot & 7)))
                self._unplaced.setdefault(owner & _LOW, set()).update(had)
            low = int(self._pool.keys[slot]) & _LOW
            known = self._unplaced.pop(low, set())
            for twin in self._pool.twins.get(low, ()):
                known |= set(np.flatnonzero(self.seen_bits[:, twin >> 3] & (1 << (twin & 7))).tolist())
            for row in known:
                if self._holds(row, low):
                    self._set_bits(row, (slot,))

    def tell(self, row: int, keys: tuple[int, ...]) -> None:
        """Put a profile in place of what a row's user said before.

        Its hidden state is made anew at the next touch, as long as it rests on steps that are all kept: it is then what
        it would be had the profile been known from the start. Later a profile changes nothing any more.
        """
        self.set_profile(row, keys)
        steps = int(self.table["steps"][row])
        if steps <= self.shape.recent:
            self.table["model_version"][row] = -1
        if not steps:
            self.table["hidden"][row] = 0.0

    def untried(self, row: int) -> tuple[int, ...]:
        """Return the profile of a row's user as long as it has made no step; empty afterwards."""
        return () if self.table["steps"][row] else self.profiles.get(row, ())

    # -- slates -----------------------------------------------------------------------------------------------------

    def slate_place(self, row: int, offset: int) -> int:
        """Return where the slate made at `offset` is remembered, -1 when it is not."""
        found = np.flatnonzero(self.table["slate_offsets"][row] == offset)
        return int(found[0]) if len(found) else -1

    def slate_propensity(self, row: int, place: int, position: int) -> float:
        """Return the probability with which the policy filled `position` of a remembered slate as it did."""
        mask = self.table["slate_masks"][row, place]
        explored = position < 8 * len(mask) and bool(mask[position >> 3] >> (position & 7) & 1)
        return float(self.table["slate_chances" if explored else "slate_rests"][row, place])

    # -- records ----------------------------------------------------------------------------------------------------

    def pack(self, users: Sequence[str]) -> dict[bytes, bytes]:
        """Return the states of users as flat records by key, with the chunks of seen videos that have been filled.

        Chunks come first: a state is never durable before the chunks that it rests on.
        """
        rows = np.array([self._rows[user] for user in users], np.int64)
        size = self.table.itemsize
        packed = self.table[rows]
        ends = (self._fixed + 4 * (packed["seen_count"] % self.shape.chunk)).tolist()
        tails = {}
        for place, found in self.extras_of(rows):
            tails[place] = pack_tail(found)
            packed["unlabelled"][place] = any(not entry.revision for entry in found.impressions)
        data = packed.tobytes()
        records = self._filled
        self._filled = {}
        starts = range(0, len(data), size)
        for user, start, end in zip(users, starts, ends, strict=True):
            records[b"u" + user.encode()] = data[start : start + end]
        for place, tail in tails.items():
            records[user_key(users[place])] += tail
        return records

    def load(self, user_id: str, record: bytes, chunks: Mapping[bytes, bytes | None]) -> int:
        """Put a stored state into a row; return the row.

        Args:
          chunks: its full chunks of seen videos (`layout.chunks_of`).
        Raises:
          StateError: the record has another layout or another hidden size.
        """
        row = self._row(user_id)
        record = upgraded(record)
        shape = shape_of(record, self.shape)
        stored = np.zeros(1, row_type(shape))
        size = fixed_size(shape)
        raw = stored.view(np.uint8)
        raw[:size] = np.frombuffer(record, np.uint8, size)
        count = 4 * (int(stored["seen_count"][0]) % shape.chunk)
        raw[size : size + count] = np.frombuffer(record, np.uint8, count, size)
        self.table[row] = stored[0] if shape == self.shape else self._converted(stored, shape)
        self.table["unlabelled"][row] = 0
        self.seen_bits[row] = 0
        if len(record) > size + count:
            self.set_extras(row, tail_of(record))
        wanted = chunks_of(record, user_id, self.shape)
        kept = [seen_of_chunk(value) for key in wanted if (value := chunks.get(key)) is not None]
        if kept:
            self._chunks[row] = kept
        self._mark_loaded(row)
        return row

    def _mark_loaded(self, row: int) -> None:
        if self.by_key:
            return
        for low in self.seen_keys(row).tolist():
            slots = self._pool.slots_of_low(low)
            self._set_bits(row, slots)
            if not slots:
                self._unplaced.setdefault(low, set()).add(row)

    def _converted(self, stored: NDArray[Any], shape: StateShape) -> Any:
        """Return a row of this shape made of one with another number of recent steps or positions."""
        row = np.array([self._blank])
        for name in row.dtype.names or ():
            if name not in ("recent", "mask_bytes", "slate_masks", "spare") and not name.startswith("recent_"):
                row[name] = stored[name]
        width = min(shape.mask_bytes, self.shape.mask_bytes)
        row["slate_masks"][..., :width] = stored["slate_masks"][..., :width]
        steps = int(stored["steps"][0])
        ages = np.arange(max(0, steps - min(shape.recent, self.shape.recent)), steps)
        for name in ("recent_videos", "recent_events", "recent_numbers", "recent_flags"):
            row[name][0, ages % self.shape.recent] = stored[name][0, ages % shape.recent]
        return row[0]


_LOW = 0xFFFF_FFFF


def _pairs(rows: Ints, keys: Ints, where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    return list(zip(rows[where].tolist(), keys[where].tolist(), strict=True))


def event_words(keys: Ints) -> NDArray[np.uint16]:
    """Return the part of event keys [B] that states keep, [B, 3]."""
    return keys.view(np.uint16).reshape(len(keys), 4)[:, :EVENT_WORDS]


__all__ = ["StateError", "StateShape", "UserStates", "event_words", "last_offset_of", "steps_of"]
