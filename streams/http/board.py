"""The last slates that this worker published, and who waits for the next one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streams.codecs import Decoder
from streams.core.events import Slate

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_BYTES = 32 << 20  # of encoded slates; about 30,000 users with 20 videos each
UNSORTED = 20_000  # slates taken as they come before each user's last is looked for

_decode = Decoder(Slate)


class Board:
    """Last slates by partition and user, as published bytes, the least recently made forgotten first.

    All of it belongs to one event loop.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._slates: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self._unsorted: list[tuple[int, Sequence[tuple[bytes, bytes]]]] = []
        self._unsorted_records = 0
        self._waiting: dict[str, list[asyncio.Future[Slate]]] = {}

    def published(
        self,
        partition: int,
        records: Sequence[tuple[bytes, bytes]],
        slates_of: Callable[[Collection[str]], Iterable[Slate]],
    ) -> None:
        """Take slates that Kafka has acknowledged.

        Args:
          slates_of: returns those that these events triggered; asked for the events whose slates somebody waits for.
        """
        self._unsorted.append((partition, records))
        self._unsorted_records += len(records)
        if self._unsorted_records > UNSORTED:
            self._sort()
        if self._waiting:
            for slate in slates_of(self._waiting.keys()):
                for future in self._waiting.pop(slate.event_id, ()):
                    if not future.done():
                        future.set_result(slate)

    def _sort(self) -> None:
        """Take over what was published since, the last slate of each user only."""
        newest: dict[bytes, tuple[int, bytes]] = {}
        for partition, records in reversed(self._unsorted):
            for key, value in reversed(records):
                if key not in newest:
                    newest[key] = partition, value
        self._unsorted, self._unsorted_records = [], 0
        held = self._slates
        for key, found in reversed(newest.items()):
            old = held.pop(key, None)
            held[key] = found
            self._bytes += len(found[1]) - (len(old[1]) if old else 0)
        while self._bytes > self._kept_bytes:
            self._bytes -= len(held.popitem(last=False)[1][1])

    def last(self, user_id: str) -> Slate | None:
        """Return the user's last slate, None when none is held."""
        self._sort()
        found = self._slates.get(user_id.encode())
        return _decode(found[1]) if found else None

    def users(self, limit: int) -> list[str]:
        """Return users with a slate, the latest first."""
        self._sort()
        return [key.decode() for key, _ in zip(reversed(self._slates), range(limit), strict=False)]

    def keep(self, partitions: Iterable[int]) -> None:
        """Forget the slates of all other partitions: another worker answers for them now."""
        self._sort()
        kept = set(partitions)
        self._slates = OrderedDict((key, held) for key, held in self._slates.items() if held[0] in kept)
        self._bytes = sum(len(value) for _, value in self._slates.values())

    def forget(self, user_id: str) -> bool:
        """Forget a user's last slate; return whether there was one."""
        self._sort()
        found = self._slates.pop(user_id.encode(), None)
        self._bytes -= len(found[1]) if found else 0
        return found is not None

    @contextmanager
    def expecting(self, event_id: str) -> Iterator[asyncio.Future[Slate]]:
        """Yield a future that holds the slate which this event triggers; enter before the event is sent."""
        future: asyncio.Future[Slate] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(event_id, []).append(future)
        try:
            yield future
        finally:
            left = [one for one in self._waiting.get(event_id, ()) if one is not future]
            if left:
                self._waiting[event_id] = left
            else:
                self._waiting.pop(event_id, None)
            future.cancel()
