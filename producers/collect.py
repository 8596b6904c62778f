"""Collects records from a paged API into a topic, each once, whenever it is killed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from producers.cluster import Cluster
from producers.cursor import CursorStore
from producers.mapping import Mapping, id_of, is_profile, key_of
from producers.paging import Page
from producers.sending import Sender
from streams.codecs import BadRecord, encode
from streams.core.events import Event, Record, Video
from streams.pseudonyms import Rename, renamed


@dataclass
class Collected:
    """What became of the items."""

    pages: int = 0
    items: int = 0
    published: int = 0
    repeated: int = 0
    invalid: int = 0
    recovered: int = 0  # found in the topic after a kill
    retries: int = 0
    cursor: str = ""


class Source(Protocol):
    """Where pages come from; `Pages`."""

    retries: int

    def page(self, cursor: str) -> Page:
        """Return the page at a cursor."""


class Log(Protocol):
    """The topic; `TopicLog`."""

    def ends(self) -> dict[int, int]:
        """Return the end of each partition."""

    def published(self, since: dict[int, int]) -> list[tuple[str, str]]:
        """Return id and digest of what this collector published from these offsets on."""

    def send(self, record: Record, record_id: str, digest: str) -> None:
        """Publish a record; it is acknowledged by the next flush."""

    def flush(self) -> None:
        """Wait until all is acknowledged."""


class Collector:
    """Goes from page to page; see `CursorStore` for what makes it exact.

    Args:
      say: gets a sentence about the first invalid item of a run.
      rename: gives a user the name that is known inside.
    """

    def __init__(
        self, mapping: Mapping, source: Source, log: Log, store: CursorStore, say: Callable[[str], None],
        rename: Rename = str,
    ) -> None:  # fmt: skip
        self._mapping, self._source, self._log, self._store, self._say = mapping, source, log, store, say
        self._rename = rename
        self.collected = Collected(cursor=store.cursor)

    def recover(self) -> None:
        """Find out what of an unfinished page is in the topic already."""
        pending = self._store.pending
        if pending is not None:
            found = self._log.published(pending)
            self._store.finish(found)
            self.collected.recovered = len(found)

    def step(self) -> bool:
        """Collect one page; tell whether there is another."""
        cursor = self._store.cursor
        page = self._source.page(cursor)
        new = self._new(page.items)
        if new:
            self._store.begin(self._log.ends())
            for record_id, (digest, record) in new.items():
                self._log.send(record, record_id, digest)
            self._log.flush()
        self._store.finish([(record_id, digest) for record_id, (digest, _) in new.items()], page.cursor)
        counts = self.collected
        counts.pages += 1
        counts.published += len(new)
        counts.cursor, counts.retries = self._store.cursor, self._source.retries
        return page.more and page.cursor not in (None, cursor)

    def result(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return asdict(self.collected)

    def _new(self, items: list[Any]) -> dict[str, tuple[str, Record]]:
        """Return records that were not published, by id; of two with one id on a page the last holds."""
        counts, found = self.collected, dict[str, tuple[str, Record]]()
        for item in items:
            counts.items += 1
            try:
                record = self._renamed(self._mapping.record(item))
            except BadRecord as bad:
                if not counts.invalid:
                    self._say(f"an item cannot be used and is left out ({bad.detail})")
                counts.invalid += 1
                continue
            digest = digest_of(record)
            if self._store.digest(id_of(record)) == digest or id_of(record) in found:
                counts.repeated += 1
            if self._store.digest(id_of(record)) != digest:
                found[id_of(record)] = digest, record
        return found

    def _renamed(self, record: Event | Video) -> Record:
        return renamed(record, self._rename) if isinstance(record, Event) else record


def digest_of(record: Record) -> str:
    """Return what tells a changed record from a repeated one; an event never changes, but for a profile its words."""
    if isinstance(record, Event) and is_profile(record):
        return record.event_id.rpartition("-")[2]
    return "event" if isinstance(record, Event) else hashlib.sha256(encode(record)).hexdigest()[:32]


class TopicLog:
    """The topic that a collector publishes to.

    Args:
      collector: its name, which its records carry in a header.
    """

    def __init__(self, cluster: Cluster, topic: str, sender: Sender, collector: str) -> None:
        self._cluster, self._topic, self._sender = cluster, topic, sender
        self._collector = collector.encode()

    def ends(self) -> dict[int, int]:
        """Return the end of each partition."""
        return self._cluster.ends(self._topic)

    def published(self, since: dict[int, int]) -> list[tuple[str, str]]:
        """Return id and digest of what this collector published from these offsets on."""
        records = self._cluster.read(self._topic, since, self.ends())
        return [pair for record in records if (pair := self._mine(record)) is not None]

    def send(self, record: Record, record_id: str, digest: str) -> None:
        """Publish a record; it is acknowledged by the next flush."""
        headers = [("collector", self._collector), ("record", f"{digest} {record_id}".encode())]
        self._sender.send(self._topic, key_of(record), record, headers=headers)

    def flush(self) -> None:
        """Wait until all is acknowledged."""
        self._sender.flush()

    def _mine(self, record: Any) -> tuple[str, str] | None:
        headers = dict(record.headers or ())
        if headers.get("collector") != self._collector or "record" not in headers:
            return None
        digest, _, record_id = headers["record"].decode("utf-8", "replace").partition(" ")
        return record_id, digest
