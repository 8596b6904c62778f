"""What a batch asks for: its events in columns, and the closings of impressions that become due within it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.equals import nth_of_equals
from streams.core.events import Event, EventType

Ints = NDArray[np.int64]
Arrivals = Sequence[tuple[int, int, Event | None]]  # offset, record timestamp (ms), event; None is a tick


class Closing(NamedTuple):
    """Close the impressions of a user that are due at `deadline_ms`, before the `before`-th event of the batch."""

    before: int
    offset: int
    deadline_ms: int


@dataclass
class Plan:
    """Events of a batch, in offset order, and closings by user, in order.

    Attributes:
      offsets, now_ms: int64 [N]; "now" is the partition's watermark at the event.
    """

    events: list[Event]
    users: list[str]
    offsets: Ints
    now_ms: Ints
    closings: dict[str, list[Closing]] = field(default_factory=dict)

    def everyone(self) -> list[str]:
        """Return the users that the batch needs, each once."""
        return list(dict.fromkeys([*self.users, *self.closings]))


class Deadlines:
    """The watermark of a partition, and the impressions that wait for their label.

    Attributes:
      watermark_ms: the largest record timestamp so far.
    """

    def __init__(self, window_ms: int) -> None:
        self.watermark_ms = 0
        self._window_ms = window_ms
        self._heap: list[tuple[int, str]] = []

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def first_ms(self) -> int | None:
        """When the first of the labels that are waited for is due; None when there is none."""
        return self._heap[0][0] if self._heap else None

    def expect(self, user_id: str, shown_ms: int) -> None:
        """Note the deadline of an open impression."""
        heapq.heappush(self._heap, (shown_ms + self._window_ms, user_id))

    def forget(self, user_id: str) -> None:
        """Drop what a user waits for."""
        kept = [entry for entry in self._heap if entry[1] != user_id]
        if len(kept) < len(self._heap):
            heapq.heapify(kept)
            self._heap = kept

    def plan(self, arrivals: Arrivals) -> Plan:
        """Move the watermark over records and return what they ask for."""
        offsets = np.array([arrival[0] for arrival in arrivals], np.int64)
        stamps = np.array([arrival[1] for arrival in arrivals], np.int64)
        now_ms = np.maximum(np.maximum.accumulate(stamps), self.watermark_ms)
        self.watermark_ms = int(now_ms[-1]) if len(now_ms) else self.watermark_ms
        arrived = [arrival[2] for arrival in arrivals]
        closings = self._closings(arrived, offsets, now_ms)
        events = [event for event in arrived if event is not None]
        if len(events) < len(arrived):
            is_event = np.array([event is not None for event in arrived], bool)
            offsets, now_ms = offsets[is_event], now_ms[is_event]
        return Plan(events, [event.user_id for event in events], offsets, now_ms, closings)

    def _closings(self, arrived: list[Event | None], offsets: Ints, now_ms: Ints) -> dict[str, list[Closing]]:
        shown = [
            place for place, event in enumerate(arrived) if event is not None and event.type is EventType.IMPRESSION
        ]
        last = self.watermark_ms
        if not (self._heap and self._heap[0][0] <= last) and not (shown and now_ms[shown[0]] + self._window_ms <= last):
            for place in shown:
                self.expect(arrived[place].user_id, int(now_ms[place]))  # type: ignore[union-attr]
            return {}
        closings: dict[str, list[Closing]] = {}
        before = 0
        for event, offset, now in zip(arrived, offsets.tolist(), now_ms.tolist(), strict=True):
            while self._heap and self._heap[0][0] <= now:
                deadline, user_id = heapq.heappop(self._heap)
                closings.setdefault(user_id, []).append(Closing(before, offset, deadline))
            if event is not None:
                before += 1
                if event.type is EventType.IMPRESSION:
                    self.expect(event.user_id, now)
        return closings


def waves_of(rows: Ints) -> list[Ints]:
    """Return the places [B] of events by wave: the k-th event of every row stands in wave k."""
    if not len(rows):
        return []
    nth = nth_of_equals(rows)
    by_wave = np.argsort(nth, kind="stable")
    return np.split(by_wave, np.cumsum(np.bincount(nth))[:-1])


def is_last(rows: Ints) -> NDArray[np.bool_]:
    """Return which events are the last of their row."""
    last = np.zeros(len(rows), bool)
    _, back = np.unique(rows[::-1], return_index=True)
    last[len(rows) - 1 - back] = True
    return last
