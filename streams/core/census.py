"""How many items are open at a moment, and the youngest and oldest of them, without a look at every slot.

Videos are all fresh for the same time, and so are products, so that their order of publication is the order of their
expiry. Rooms each have a window of their own, but they are few.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.eligibility import LIVE, PLACES, Ages, Window
from streams.core.events import Kind

Ints = NDArray[np.int64]


class Counted(NamedTuple):
    """What the census knows of the item in a slot that is not closed."""

    slot: int
    kind: int
    published_ms: int
    window: Window


class Census:
    """All items that are not closed.

    Args:
      ages: by which their windows were made.
    """

    def __init__(self, ages: Ages) -> None:
        self._steady = {
            PLACES[Kind.VIDEO]: _Steady(ages.video_ms),
            PLACES[Kind.PRODUCT]: _Steady(ages.product_ms),
        }
        self._rooms = _Rooms()

    def change(self, gone: Iterable[Counted], come: Iterable[Counted]) -> None:
        """Take out some items, each of which is there, and put in others."""
        gone, come = list(gone), list(come)
        for kind, steady in self._steady.items():
            steady.change(
                [one.published_ms for one in gone if one.kind == kind],
                [one.published_ms for one in come if one.kind == kind],
            )
        self._rooms.change(
            [one for one in gone if one.kind == LIVE], [one for one in come if one.kind == LIVE]
        )  # fmt: skip

    def count(self, now_ms: Ints) -> Ints:
        """Return how many items are open at moments [B]."""
        return self.ages(now_ms)[2]

    def ages(self, now_ms: Ints) -> tuple[Ints, Ints, Ints]:
        """Return publication times of the youngest and oldest open item, and how many there are, at moments [B].

        Where nothing is open, the youngest is 0 and the oldest the moment itself, which is also the latest it can be.
        """
        youngest, oldest, count = np.zeros_like(now_ms), now_ms, np.zeros_like(now_ms)
        parts: list[_Steady | _Rooms] = [*self._steady.values(), self._rooms]
        for part in parts:
            if part:
                young, old, some = part.ages(now_ms)
                youngest, oldest, count = np.maximum(youngest, young), np.minimum(oldest, old), count + some
        return youngest, oldest, count


class _Steady:
    """Publication times, ms, ascending, of items that are all fresh for the same time."""

    def __init__(self, fresh_ms: int) -> None:
        self._fresh_ms = fresh_ms
        self._times = np.zeros(0, np.int64)

    def __bool__(self) -> bool:
        return len(self._times) > 0

    def change(self, gone: list[int], come: list[int]) -> None:
        if gone:
            leaving = np.sort(np.array(gone, np.int64))
            first = np.searchsorted(self._times, leaving)
            among = np.arange(len(leaving)) - np.searchsorted(leaving, leaving)  # equal times leave one after the other
            self._times = np.delete(self._times, first + among)
        if come:
            arriving = np.sort(np.array(come, np.int64))
            self._times = np.insert(self._times, np.searchsorted(self._times, arriving), arriving)

    def ages(self, now_ms: Ints) -> tuple[Ints, Ints, Ints]:
        first = np.searchsorted(self._times, now_ms - self._fresh_ms, side="right")
        count = len(self._times) - first
        youngest = np.where(count > 0, max(0, int(self._times[-1])), 0)
        oldest = np.where(count > 0, self._times[np.minimum(first, len(self._times) - 1)], now_ms)
        return youngest, np.minimum(oldest, now_ms), count


class _Rooms:
    """Items with windows of their own, by slot."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int, int]] = {}  # begin, end, publication
        self._table = np.zeros((3, 0), np.int64)
        self._bounds = np.zeros(0, np.int64)
        self._stale = False

    def __bool__(self) -> bool:
        return bool(self._known)

    def change(self, gone: list[Counted], come: list[Counted]) -> None:
        self._stale |= bool(gone or come)
        for one in gone:
            del self._known[one.slot]
        for one in come:
            self._known[one.slot] = one.window.begins_ms, one.window.ends_ms, one.published_ms

    def ages(self, now_ms: Ints) -> tuple[Ints, Ints, Ints]:
        """Between two bounds of windows nothing changes: one look at all rooms serves all moments there."""
        if self._stale:
            self._table = np.array(list(self._known.values()), np.int64).reshape(-1, 3).T
            self._bounds = np.unique(self._table[:2])
            self._stale = False
        _, first, which = np.unique(
            np.searchsorted(self._bounds, now_ms, side="right"), return_index=True, return_inverse=True
        )
        rows = np.array([self._look(moment) for moment in now_ms[first].tolist()], np.int64).reshape(-1, 3)[which]
        return rows[:, 0], np.minimum(rows[:, 1], now_ms), rows[:, 2]

    def _look(self, now_ms: int) -> tuple[int, int, int]:
        begins, ends, published = self._table
        some = published[(begins <= now_ms) & (ends > now_ms)]
        return (max(0, int(some.max())), int(some.min()), len(some)) if len(some) else (0, np.iinfo(np.int64).max, 0)
