"""When an item may be recommended, by its kind: no other module decides it.

An item is open in a window of time that its newest record gives. A sold-out product and an ended room are closed from
that record on, whatever the time. A record that opens an item again may come for any kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.events import Kind, Video

Ints = NDArray[np.int64]
KINDS = tuple(Kind)
PLACES = {kind: place for place, kind in enumerate(KINDS)}
LIVE = PLACES[Kind.LIVE]
NEVER = int(np.iinfo(np.int64).max)
KEPT = 1 << 16  # changes of windows that can be undone; more than come between a worker's end and its next start


@dataclass(frozen=True)
class Ages:
    """For how long items are fresh, ms: videos and products once published, rooms once they were last heard of.

    An age of 0 keeps a kind out of every slate.
    """

    video_ms: int
    product_ms: int
    live_ms: int

    @classmethod
    def same(cls, fresh_ms: int) -> Ages:
        """Return one age for every kind."""
        return cls(fresh_ms, fresh_ms, fresh_ms)

    def of(self, kind: Kind) -> int:
        """Return the age of a kind."""
        return (self.video_ms, self.product_ms, self.live_ms)[PLACES[kind]]


class Window(NamedTuple):
    """An item is open from `begins_ms` until before `ends_ms`, which is 0 for one that is closed.

    `stays_ms` tells who goes when the pool is full: the lowest. Where that is not the end of the window, it is that of
    a video published when the item was last heard of.
    """

    begins_ms: int
    ends_ms: int
    stays_ms: int


CLOSED = Window(0, 0, 0)


class Change(NamedTuple):
    """One record of the `videos` topic, or what would be one.

    Attributes:
      video: None withdraws the item.
      offset: of the record; 0 where `as_of` is not used.
      heard_ms: its timestamp.
    """

    video_id: str
    video: Video | None
    offset: int = 0
    heard_ms: int = 0


def lasting(video: Video) -> Video:
    """Return a video without what changes from moment to moment; a scorer sees nothing of that."""
    return msgspec.structs.replace(video, stock=None, starts_ms=None, ends_ms=None, ended=False, viewers=0)


def window_of(item: Video, heard_ms: int, ages: Ages) -> Window:
    """Return when an item is open, by its newest record.

    Args:
      heard_ms: timestamp of that record.
    """
    if not ages.of(item.kind):
        return CLOSED
    if item.kind is Kind.LIVE:
        return _of_room(item, heard_ms, ages)
    if item.kind is Kind.PRODUCT and item.stock == 0:
        return CLOSED
    ends_ms = item.published_ms + ages.of(item.kind)
    return Window(0, ends_ms, ends_ms)


def _of_room(item: Video, heard_ms: int, ages: Ages) -> Window:
    if item.ended or (item.ends_ms is not None and item.ends_ms <= heard_ms):
        return CLOSED
    begins_ms, ends_ms = item.starts_ms or 0, heard_ms + ages.live_ms
    if item.ends_ms is not None:
        ends_ms = min(ends_ms, item.ends_ms)
    return Window(begins_ms, max(begins_ms, ends_ms), heard_ms + ages.video_ms)


class Windows:
    """The windows of a pool's slots, as they are and as they were.

    Attributes:
      begins_ms, ends_ms, stays_ms: int64 [S]; zeros for a slot that is free or whose item is closed.
    """

    def __init__(self, capacity: int) -> None:
        self.begins_ms = np.zeros(capacity, np.int64)
        self.ends_ms = np.zeros(capacity, np.int64)
        self.stays_ms = np.zeros(capacity, np.int64)
        self._some_begin = False  # has any slot ever had a beginning
        self._changed: list[tuple[int, int, int, int]] = []  # offset, slot, and the window before it; offsets rise

    def set(self, slot: int, window: Window, offset: int, before: Window | None) -> None:
        """Give a slot a window.

        Args:
          offset: of the record that does it, in the `videos` topic.
          before: what the slot had before, None for a slot that was free.
        """
        if before is not None and before[:2] != window[:2]:
            self._changed.append((offset, slot, before.begins_ms, before.ends_ms))
            if len(self._changed) >= 2 * KEPT:
                del self._changed[:KEPT]
        self.begins_ms[slot], self.ends_ms[slot], self.stays_ms[slot] = window
        self._some_begin |= window.begins_ms > 0

    def of(self, slot: int) -> Window:
        """Return the window of a slot."""
        return Window(int(self.begins_ms[slot]), int(self.ends_ms[slot]), int(self.stays_ms[slot]))

    def open(self, size: int, now_ms: int, then: tuple[Ints, Ints] | None = None) -> NDArray[np.bool_]:
        """Return which of the first slots [size] are open at `now_ms`; `then` comes from `as_of`."""
        begins, ends = then or (self.begins_ms, self.ends_ms)
        found: NDArray[np.bool_] = ends[:size] > now_ms
        if self._some_begin:
            found &= begins[:size] <= now_ms
        return found

    def open_between(self, size: int, first_ms: int, last_ms: int) -> NDArray[np.bool_]:
        """Return which of the first slots [size] are open at a moment from `first_ms` to `last_ms`."""
        found: NDArray[np.bool_] = (self.ends_ms[:size] > first_ms) & (self.begins_ms[:size] <= last_ms)
        return found

    def are_open(self, slots: Ints, now_ms: Ints | int) -> NDArray[np.bool_]:
        """Return which slots [M] are open at moments [M], or at one moment."""
        found: NDArray[np.bool_] = self.ends_ms[slots] > now_ms
        if self._some_begin:
            found &= self.begins_ms[slots] <= now_ms
        return found

    def as_of(self, offset: int) -> tuple[Ints, Ints]:
        """Return beginnings and ends of all slots as they were before record `offset` of the `videos` topic."""
        begins, ends = self.begins_ms.copy(), self.ends_ms.copy()
        for changed_at, slot, began, ended in reversed(self._changed):
            if changed_at < offset:
                break
            begins[slot], ends[slot] = began, ended
        return begins, ends
