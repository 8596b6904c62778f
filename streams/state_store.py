"""User states of one partition on disk: RocksDB, written in one batch, with what is needed to go on after a kill.

Keys: `m` holds `Meta`; `u` + user id holds a packed state; `s` + user id + one byte holds a full chunk of seen videos;
`f` + mark holds the offset of the event that erased a user (`streams.core.erasure`);
`d` + user id marks a user with an impression that has no label yet, so that recovery finds deadlines without reading
every state; `j` + one byte holds an entry of the journal.

What the changelog has acknowledged is durable there, so it is gathered here and written now and then, the newest state
of a user only, and without a write-ahead log: after a kill the store begins where RocksDB last flushed, which its
`Meta` says, and the changelog brings it up to date. So it does after a kill in a long recovery (`StateStore.fill`).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec
import rocksdb

from streams.core.erasure import mark_of, mark_offset, pack_mark, user_of
from streams.core.feedback import Impressions
from streams.core.layout import age_of, impressions_of, is_unlabelled, last_offset_of
from streams.core.migration import upgraded
from streams.journal import JOURNAL_KEY
from streams.store_options import filling_options, serving_options

log = logging.getLogger("freshloop.worker")

META_KEY = b"m"
_RECORDS = (b"u", b"s")
_USER_BYTE, _RECORD_BYTES = ord("u"), frozenset(b"us")
_MARK = b"f"
_MARK_BYTE = _MARK[0]
_UNKNOWN = 1 << 62  # above every offset
DAMAGED = "DAMAGED"  # a file with this name beside RocksDB's says that reading failed; the folder is made anew
GATHERED = 4_000  # records between two writes, about 4 MB


class StoreError(Exception):
    """The store cannot be used; the message is one sentence that says what to do."""


class DamagedStore(StoreError):
    """The store's files are not as they were written; everything in them comes back from the changelog."""


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


class StateStore:
    """The states of one partition in a folder of their own.

    Attributes:
      erased: offset of the event that erased a user, by mark.
      scrub_due: records were withdrawn that may stand in files still.

    Raises:
      StoreError: another worker holds the folder, or the disk is full.
      DamagedStore: it cannot be opened, or a read finds that it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if (path / DAMAGED).exists():
            raise self._damaged("as a read found")
        self._db = self._opened(serving_options())
        with self._reading():
            self.meta = self._read_meta()
            self._newest_offset = -1 if self.meta == Meta() else _UNKNOWN  # of all records held
            self._gathered: dict[bytes, bytes | None] = {}
            self.erased = self._read_marks()
            self._new_marks = self.scrub_due = False
            self._unscrubbed: set[bytes] = set()
            self._marked = {b"u" + user for user in self._marks()}

    def _opened(self, options: Any) -> Any:
        path = self.path
        try:
            return rocksdb.DB(str(path), options)
        except rocksdb.errors.Error as error:
            if isinstance(error, rocksdb.errors.RocksIOError) and "lock" in str(error).lower():
                raise StoreError(
                    f"the state folder {path} is in use by another worker: give each worker its own --name ({error})"
                ) from None
            if "no space left" in str(error).lower():  # the states are whole: removing them would only make room
                raise StoreError(
                    f"the disk under the state folder {path} is full: make room, then start again ({error})"
                ) from None
            raise self._damaged(error) from None

    def _damaged(self, why: object) -> DamagedStore:
        return DamagedStore(f"the state folder {self.path} is damaged, its states come back from the changelog: {why}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (rocksdb.errors.Error, msgspec.DecodeError) as error:
            (self.path / DAMAGED).touch()
            with suppress(rocksdb.errors.Error):
                self._db.close()
            raise self._damaged(error) from None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the records of those keys that have one."""
        if not keys:
            return {}
        gathered = self._gathered
        found = {key: value for key in keys if (value := gathered.get(key)) is not None}
        rest = [key for key in keys if key not in gathered]
        if rest:
            with self._reading():
                read = self._db.multi_get(rest)
            found.update((key, value) for key, value in read.items() if value is not None)
        return found

    def put(self, records: Mapping[bytes, bytes | None], meta: Meta) -> None:
        """Take states, chunks and marks that the changelog holds, None where one is withdrawn, and the progress."""
        self._gathered.update(records)
        for key in [key for key in records if key[0] == _MARK_BYTE]:  # a slice of each would cost five times as much
            if (value := records[key]) is not None:
                self._note_mark(key, value)
        self.meta = meta
        if len(self._gathered) >= GATHERED:
            self.write()

    def write(self) -> None:
        """Write what was gathered, in one atomic batch."""
        gathered, self._gathered = self._gathered, {}
        batch = rocksdb.WriteBatch()
        for key, value in gathered.items():
            if value is None:
                self._remove(batch, key)
            else:
                self._add(batch, key, value)
        self._write(batch)

    def absorb(self, records: Iterable[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Take over changelog records. One older than what is held is passed over: a woken zombie wrote it.

        Offsets rise along the changelog, so only a record below the newest offset of earlier calls can be older than
        what is held, and only for such records is the store asked; for every record where earlier calls are not known.
        """
        newest, ages, doubtful = self._newest_of(records)
        with self._reading():
            held = self._db.multi_get(doubtful) if doubtful else {}
        batch = rocksdb.WriteBatch()
        for key, value in newest.items():
            if value is None:
                self._remove(batch, key)
                self.scrub_due = True
            elif (old := held.get(key)) is None or ages[key] >= age_of(key, old):
                self._add(batch, key, value)
        self.meta = Meta(self.meta.applied_through, self.meta.watermark_ms, changelog_offset)
        self._write(batch)

    def _newest_of(
        self, records: Iterable[tuple[bytes, bytes | None]]
    ) -> tuple[dict[bytes, bytes | None], dict[bytes, int], list[bytes]]:
        """Return the newest record of each key, its age, and the keys that may be held newer; take over progress."""
        newest: dict[bytes, bytes | None] = {}
        ages: dict[bytes, int] = {}
        doubtful: list[bytes] = []
        before = most = self._newest_offset
        for key, value in records:
            kind = key[0] if key else 0
            if kind not in _RECORD_BYTES:
                self._take_note(key, value, newest)
            elif not value:
                newest[key] = value
                ages.pop(key, None)
            else:
                age = last_offset_of(value) if kind == _USER_BYTE else age_of(key, value)
                if age < before:
                    doubtful.append(key)
                most = max(most, age)
                if age >= ages.get(key, age):
                    newest[key], ages[key] = value, age
        self._newest_offset = most
        return newest, ages, doubtful

    def _take_note(self, key: bytes, value: bytes | None, newest: dict[bytes, bytes | None]) -> None:
        """Take over a record of progress or an erasure's mark; any other is no state's."""
        if key == META_KEY and value is not None:
            found = _meta_decoder.decode(value)
            if found.applied_through >= self.meta.applied_through:
                self.meta = found
        if key[:1] == _MARK and value:
            self._note_mark(key, value)
            newest[key] = value

    def purge(self) -> int:
        """Remove records that were erased since; return how many. After a recovery only, which may have missed that."""
        if not (self.erased and self._new_marks):
            return 0
        self._new_marks = False
        batch, removed = rocksdb.WriteBatch(), 0
        with self._reading():
            iterator = self._db.iteritems()
            iterator.seek_to_first()
            for key, value in iterator:
                if key[:1] in _RECORDS and age_of(key, value) <= self.erased.get(mark_of(user_of(key)), -2):
                    self._remove(batch, key)
                    removed += 1
            del iterator  # RocksDB must not be closed under a living iterator
        self._write(batch)
        self.scrub_due |= removed > 0
        return removed

    def compact(self) -> None:
        """Rewrite every file, without what was withdrawn; may be called in a thread beside the others."""
        self.scrub_due = False
        self.write()
        marks, self._unscrubbed = self._unscrubbed, set()
        self._db.compact_range(bottommost_level_compaction="force")
        batch = rocksdb.WriteBatch()
        for mark in marks:
            batch.put(_MARK + mark, pack_mark(self.erased[mark], scrubbed=True))
        self._db.write(batch, disable_wal=True)

    def renew(self) -> None:
        """Open the store anew: RocksDB begins a new list of its files; the old one names their first and last keys."""
        self._reopen(serving_options())

    def fill(self) -> None:
        """Open the store anew for a long recovery: large buffers, nothing is compacted until `renew`."""
        self._reopen(filling_options())

    def _reopen(self, options: Any) -> None:
        self._db.close()
        self._db = self._opened(options)

    def keep(self, records: Mapping[bytes, bytes]) -> None:
        """Take records of the changelog that are neither states nor progress, as they are."""
        batch = rocksdb.WriteBatch()
        for key, value in records.items():
            batch.put(key, value)
        self._write(batch)

    def journal(self) -> list[bytes]:
        """Return the entries of the journal."""
        iterator = self._db.iteritems()
        iterator.seek(JOURNAL_KEY)
        try:
            found = dict(takewhile(lambda item: item[0][:1] == JOURNAL_KEY, iterator))
        finally:
            del iterator
        return list((found | {k: v for k, v in self._gathered.items() if k[:1] == JOURNAL_KEY}).values())

    def unlabelled(self) -> list[tuple[str, Impressions]]:
        """Return the users that have an impression without a label, and their open impressions."""
        return [
            (key[1:].decode(), impressions_of(upgraded(value))) for key, value in self.get(sorted(self._marked)).items()
        ]

    def users(self) -> int:
        """Return about how many records are stored."""
        return int(self._db.get_property(b"rocksdb.estimate-num-keys") or 0)

    def close(self) -> None:
        """Write what was gathered and close the store; it must not be used afterwards."""
        self.write()
        self._db.close()  # RocksDB writes what it holds in memory first

    def _marks(self) -> list[bytes]:
        iterator = self._db.iterkeys()
        iterator.seek(b"d")
        try:
            return [key[1:] for key in takewhile(lambda key: key[:1] == b"d", iterator)]
        finally:
            del iterator  # RocksDB must not be closed under a living iterator

    def _add(self, batch: Any, key: bytes, value: bytes) -> None:
        batch.put(key, value)
        if key[:1] != b"u":
            return
        if is_unlabelled(value):
            if key not in self._marked:
                self._marked.add(key)
                batch.put(b"d" + key[1:], b"")
        elif key in self._marked:
            self._unmark(batch, key)

    def _remove(self, batch: Any, key: bytes) -> None:
        batch.delete(key)
        if key in self._marked:
            self._unmark(batch, key)

    def _note_mark(self, key: bytes, value: bytes) -> None:
        mark = key[1:]
        self.erased[mark] = max(mark_offset(value), self.erased.get(mark, -1))
        self._new_marks = self.scrub_due = True
        self._unscrubbed.add(mark)

    def _read_marks(self) -> dict[bytes, int]:
        iterator = self._db.iteritems()
        iterator.seek(_MARK)
        try:
            return {key[1:]: mark_offset(value) for key, value in takewhile(lambda one: one[0][:1] == _MARK, iterator)}
        finally:
            del iterator  # RocksDB must not be closed under a living iterator

    def _unmark(self, batch: Any, key: bytes) -> None:
        self._marked.discard(key)
        batch.delete(b"d" + key[1:])

    def _write(self, batch: Any) -> None:
        batch.put(META_KEY, msgspec.msgpack.encode(self.meta))
        self._db.write(batch, disable_wal=True)

    def _read_meta(self) -> Meta:
        value = self._db.get(META_KEY)
        return _meta_decoder.decode(value) if value else Meta()


def open_store(path: Path) -> StateStore:
    """Open a store; a damaged one is removed and begins empty.

    Raises:
      StoreError: another worker holds the folder, or the disk is full.
    """
    try:
        return StateStore(path)
    except DamagedStore as error:
        log.warning("%s", error)
        shutil.rmtree(path)
        return StateStore(path)
