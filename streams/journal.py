"""What a partition's states rest on beside its events: which model versions and which videos, from which offset on.

An entry is durable in the partition's changelog before the first slate or state that it affects. After a restart what
was applied before is applied again under the same entries, so that it comes out as it was; only behind the last event
that can have been published before does the partition go on with what serves now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

JOURNAL_KEY = b"j"
PLACES = 128  # more than batches that can be in flight; an entry's key is used again for the 128th after it


class Ends(NamedTuple):
    """Every record below these offsets of the topics of those names is in the pool, and no other."""

    videos: int
    vectors: int


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What holds from an offset of the events partition on.

    Attributes:
      number: counts the entries of the partition; a later one holds against an earlier one from its offset on.
      offset: of the first event that it affects.
      online, frozen: model versions; -1 for none.
      videos: every record of the `videos` topic below this offset is in the pool, and no other; `vectors` likewise.
      trial, share: the version on trial and its share of the users; 0 for none.
    """

    number: int
    offset: int
    online: int
    frozen: int
    videos: int
    trial: int = 0
    share: float = 0.0
    vectors: int = 0

    def key(self) -> bytes:
        """Return the entry's key in changelog and store."""
        return JOURNAL_KEY + bytes((self.number % PLACES,))

    def same(self, other: Entry) -> bool:
        """Return whether it says the same as another."""
        return msgspec.structs.astuple(self)[2:] == msgspec.structs.astuple(other)[2:]


encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode


class Journal:
    """The entries of one partition.

    Args:
      records: values as stored, in any order.
      applied: every event below this offset is in the states.
      until: events below this offset may have been published before.

    Attributes:
      until: events below it are applied under the entries; 0 when nothing is applied again.
    """

    def __init__(self, records: Iterable[bytes] = (), applied: int = 0, until: int = 0) -> None:
        self._entries: list[Entry] = []
        for entry in sorted(map(decode_entry, records), key=lambda entry: entry.number):
            self._append(entry)
        while len(self._entries) > 1 and self._entries[1].offset <= applied:
            del self._entries[0]
        self.until = until if self._entries and until > applied else 0

    def _append(self, entry: Entry) -> None:
        while self._entries and self._entries[-1].offset >= entry.offset:
            self._entries.pop()
        self._entries.append(entry)

    def replayed(self, offset: int) -> Entry | None:
        """Return under which entry an event is applied again; None where what serves now holds."""
        if offset >= self.until:
            return None
        found = None
        for entry in self._entries:
            if entry.offset <= offset:
                found = entry
        return found

    def cuts(self, begin: int) -> list[int]:
        """Return the offsets from `begin` on where something else holds than before."""
        return [*(entry.offset for entry in self._entries if begin < entry.offset < self.until), self.until]

    def note(
        self, offset: int, online: int, frozen: int, videos: int, trial: int = 0, share: float = 0.0, vectors: int = 0
    ) -> Entry | None:
        """Return the entry that is needed before `offset` is applied with these; None when the last one says so."""
        last = self._entries[-1] if self._entries else None
        entry = Entry(last.number + 1 if last else 0, offset, online, frozen, videos, trial, share, vectors)
        if last is not None and last.offset <= offset and last.same(entry):
            return None
        self._append(entry)
        self._entries = self._entries[-1:] if offset >= self.until else self._entries
        self.until = min(self.until, offset)
        return entry
