"""The files of an installation: state stores, log segments, and everything else in the data folder."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import rocksdb
from kafka.record import MemoryRecords

from streams.core.erasure import is_scrubbed, mark_key
from streams.forget.needle import Needle
from streams.state_store import StateStore, StoreError
from streams.store_options import serving_options

_TEXT = (".log", ".json", ".txt", ".properties", ".toml", ".pid", ".new", ".1")
_SEGMENT = re.compile(r"^\d{20}\.log")
_ENTRIES = re.compile(rb"# entries=(\d+)")


@dataclass(frozen=True)
class Table:
    """A state store as it is on disk.

    Attributes:
      keys: that name the user.
      hidden: records that were withdrawn or replaced and stand in a file still.
      scrubbed: every file was rewritten since the user was erased, so what is hidden is of others.
    """

    keys: int = 0
    hidden: int = 0
    scrubbed: bool = False

    @property
    def clean(self) -> bool:
        """Whether the user is not in it."""
        return not self.keys and (self.scrubbed or not self.hidden)


def stores(folder: Path) -> list[Path]:
    """Return the folders of state stores."""
    return sorted(path.parent for path in folder.rglob("CURRENT") if "workers" in path.parts)


def compacted(path: Path) -> bool:
    """Compact a store that no worker holds; False when one does, which compacts it itself after an erasure."""
    try:
        store = StateStore(path)
    except StoreError:
        return False
    store.compact()
    store.renew()
    store.close()
    return True


def look_into(path: Path, needle: Needle, mark: bytes) -> Table:
    """Read a store whose worker may run.

    That nothing is hidden in its files is seen by their count of entries: each must be a key that is alive.
    """
    try:
        db = rocksdb.DB(str(path), serving_options(), read_only=True)
    except rocksdb.errors.Error:  # its files are being replaced at this moment
        return Table(hidden=1)
    try:
        iterator = db.iterkeys()
        iterator.seek_to_first()
        alive = mine = 0
        for key in iterator:
            alive += 1
            mine += needle.is_key(key)
        del iterator
        entries = sum(map(int, _ENTRIES.findall(db.get_property(b"rocksdb.aggregated-table-properties") or b"")))
        told = db.get(mark_key(mark))
        return Table(mine, max(0, entries - alive), told is not None and is_scrubbed(told))
    except rocksdb.errors.Error:
        return Table(hidden=1)
    finally:
        db.close()


def segments(folder: Path, topic: str) -> list[Path]:
    """Return the log segments of a topic on this machine, those that are about to be deleted too."""
    return sorted(
        path
        for partition in folder.rglob(f"broker/logs/{topic}-*")
        if partition.name.removeprefix(f"{topic}-").isdigit()
        for path in partition.iterdir()
        if _SEGMENT.match(path.name)
    )


def in_segment(path: Path, needle: Needle) -> int:
    """Return how many records of a log segment name the user."""
    found = 0
    with suppress(FileNotFoundError):  # compaction replaced it meanwhile
        records = MemoryRecords(path.read_bytes())
        while (batch := records.next_batch()) is not None:
            if not batch.is_control_batch:
                found += sum(needle.in_record(one.key, one.value, one.headers) for one in batch)
    return found


def other_files(folder: Path, looked_at: Sequence[Path], needle: Needle) -> Iterator[tuple[Path, int]]:
    """Yield files outside the given folders that name the user, in name or content, and how often."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(path.is_relative_to(one) for one in looked_at) or path.suffix == ".sst":
            continue
        found = needle.count(str(path.relative_to(folder)).replace("/", " ").encode())
        if not needle.is_short or path.suffix in _TEXT or path.name == "LOG":
            found += _in_file(path, needle)
        if found:
            yield path, found


def _in_file(path: Path, needle: Needle) -> int:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return 0
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return needle.count(data)  # type: ignore[arg-type]  # a pattern takes whatever is a buffer
    except (OSError, ValueError):
        return 0
