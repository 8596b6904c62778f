"""User states of one partition on disk: RocksDB, written in one batch, with what is needed to go on after a kill.

Keys: `m` holds `Meta`; `u` + user id holds a packed state; `d` + user id marks a user with an impression that has no
label yet, so that recovery finds deadlines without reading every state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import rocksdb

from streams.core.feedback import Pending
from streams.core.state import last_offset_of, pending_of

META_KEY = b"m"


class StoreError(Exception):
    """The store cannot be used; the message is one sentence that says what to do."""


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """How far a partition is.

    Attributes:
      applied_through: every event below this offset is in the states; this is where processing goes on.
      watermark_ms: the partition's watermark at that point.
      changelog_offset: the next record of the changelog that is not in this store; 0 in the changelog itself.
    """

    applied_through: int = 0
    watermark_ms: int = 0
    changelog_offset: int = 0


_meta_decoder = msgspec.msgpack.Decoder(Meta)


def user_key(user_id: str) -> bytes:
    """Return the key of a user's state, in the store and in the changelog."""
    return b"u" + user_id.encode()


class StateStore:
    """The states of one partition in a folder of their own.

    Raises:
      StoreError: another worker holds the folder, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = rocksdb.DB(str(path), _options())
        except rocksdb.errors.RocksIOError as error:
            raise StoreError(
                f"the state folder {path} is in use by another worker: give each worker its own --name ({error})"
            ) from None
        except rocksdb.errors.Error as error:
            raise StoreError(
                f"the state folder {path} is damaged: remove it, the states come back from the changelog ({error})"
            ) from None
        self.meta = self._read_meta()

    def get(self, users: Sequence[str]) -> dict[str, bytes]:
        """Return the packed states of those users that have one."""
        if not users:
            return {}
        found = self._db.multi_get([user_key(user) for user in users])
        return {user: value for user in users if (value := found[user_key(user)]) is not None}

    def put(self, states: Mapping[str, bytes], meta: Meta) -> None:
        """Write states and progress in one atomic batch."""
        batch = rocksdb.WriteBatch()
        for user, value in states.items():
            self._add(batch, user.encode(), value)
        self._write(batch, meta)

    def absorb(self, records: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Take over changelog records. A state older than the one held is passed over: a woken zombie wrote it."""
        newest: dict[bytes, bytes | None] = {}
        meta = self.meta
        for key, value in records:
            if key == META_KEY and value is not None:
                found = _meta_decoder.decode(value)
                if found.applied_through >= meta.applied_through:
                    meta = found
            elif key[:1] == b"u":
                old = newest.get(key)
                if not (old and value and last_offset_of(value) < last_offset_of(old)):
                    newest[key] = value
        held = self._db.multi_get(list(newest)) if newest else {}
        batch = rocksdb.WriteBatch()
        for key, value in newest.items():
            old = held.get(key)
            if value is None:
                batch.delete(key)
                batch.delete(b"d" + key[1:])
            elif old is None or last_offset_of(value) >= last_offset_of(old):
                self._add(batch, key[1:], value)
        self._write(batch, Meta(meta.applied_through, meta.watermark_ms, changelog_offset))

    def unlabelled(self) -> list[tuple[str, Pending]]:
        """Return the users that have an impression without a label, and their open impressions."""
        iterator = self._db.iterkeys()
        iterator.seek(b"d")
        users = []
        for key in iterator:
            if key[:1] != b"d":
                break
            users.append(key[1:].decode())
        del iterator  # RocksDB must not be closed under a living iterator
        return [(user, pending_of(value)) for user, value in self.get(users).items()]

    def users(self) -> int:
        """Return about how many users are stored."""
        return int(self._db.get_property(b"rocksdb.estimate-num-keys") or 0)

    def close(self) -> None:
        """Close the store; it must not be used afterwards."""
        self._db.close()

    def _add(self, batch: Any, user: bytes, value: bytes) -> None:
        batch.put(b"u" + user, value)
        if any(entry.revision == 0 for entry in pending_of(value).impressions):
            batch.put(b"d" + user, b"")
        else:
            batch.delete(b"d" + user)

    def _write(self, batch: Any, meta: Meta) -> None:
        batch.put(META_KEY, msgspec.msgpack.encode(meta))
        self._db.write(batch)
        self.meta = meta

    def _read_meta(self) -> Meta:
        value = self._db.get(META_KEY)
        return _meta_decoder.decode(value) if value else Meta()


def _options() -> Any:
    table = rocksdb.BlockBasedTableFactory(
        block_cache=rocksdb.LRUCache(8 << 20), filter_policy=rocksdb.BloomFilterPolicy(10)
    )
    return rocksdb.Options(
        create_if_missing=True, write_buffer_size=4 << 20, max_open_files=64, table_factory=table, keep_log_file_num=2
    )
