"""What a collector remembers: its cursor, what it published, and what it was about to publish when it was killed."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Self

from streams.config import ConfigError

REMEMBERED = 1_000_000  # records whose repetition is known

_TABLES = """
create table if not exists progress (one integer primary key check (one = 1), cursor text, pending text);
create table if not exists seen (id text primary key, digest text not null);
insert or ignore into progress values (1, '', null);
"""


class CursorStore:
    """The state of one collector, in an SQLite file that every change is synced to.

    Order of a page: `begin` with the ends of the topic, publish, `finish`. After a kill in between, `pending` says from
    where on the topic holds what was published of that page.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file at `path`.

        Raises:
          ConfigError: another collector of that name runs.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.with_suffix(".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ConfigError(f"a collector named {path.stem} runs already (it holds {path})") from None
        self._base = sqlite3.connect(path)
        self._base.execute("pragma synchronous = full")
        self._base.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()
        self._lock.close()

    @property
    def cursor(self) -> str:
        """Where the next page begins; empty before the first."""
        return str(self._one("select cursor from progress"))

    @property
    def pending(self) -> dict[int, int] | None:
        """Ends of the topic's partitions before a page that was not finished; None when all were."""
        found = self._one("select pending from progress")
        return None if found is None else {int(key): end for key, end in json.loads(str(found)).items()}

    def digest(self, record_id: str) -> str | None:
        """Return the digest under which a record was published last, None when it was not."""
        found = self._one("select digest from seen where id = ?", record_id)
        return None if found is None else str(found)

    def begin(self, ends: dict[int, int]) -> None:
        """Note that records come behind these ends."""
        with self._base:
            self._base.execute("update progress set pending = ?", (json.dumps(ends),))

    def finish(self, published: Iterable[tuple[str, str]], cursor: str | None = None) -> None:
        """Note that records (id, digest) are in the topic, and where to go on (None: where we were)."""
        with self._base:
            for pair in published:
                self._base.execute("delete from seen where id = ?", pair[:1])  # the newest have the largest rowid
                self._base.execute("insert into seen values (?, ?)", pair)
            self._base.execute("delete from seen where rowid <= (select max(rowid) from seen) - ?", (REMEMBERED,))
            self._base.execute("update progress set pending = null, cursor = coalesce(?, cursor)", (cursor,))

    def _one(self, query: str, *values: str) -> object:
        with closing(self._base.execute(query, values)) as rows:
            row = rows.fetchone()
        return None if row is None else row[0]
