"""Group commit: parts of one partition whose slates are out are written together, in order.

A part's states are appended to the changelog once its slates are acknowledged. When the broker is slow, parts gather
behind the append that is under way; they then share the next one, and of each state only the newest is written. So a
partition that is behind catches up in one turn and not in as many as there are parts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a turn is made by an owned partition, which has commits
    from streams.tracing import Marks
    from streams.turn import Turn


@dataclass(eq=False)
class Commit:
    """A part that is applied in memory and not stored yet.

    Attributes:
      done: called once it is stored.
      ready: its slates are acknowledged, so it may be stored.
      counts: of what it published, for its trace.
    """

    turn: Turn
    done: Callable[[], None]
    marks: Marks | None
    ready: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    @cached_property
    def stamps(self) -> NDArray[np.int64]:
        """Timestamps of the part's records [B], ms."""
        return np.array([record.timestamp for record in self.turn.batch.records], np.int64)


class Commits:
    """The parts of a partition that are not stored yet, oldest first.

    Attributes:
      settled: set while there are none.
    """

    def __init__(self) -> None:
        self._waiting: deque[Commit] = deque()
        self._writing = 0
        self.settled = asyncio.Event()
        self.settled.set()

    def add(self, commit: Commit) -> None:
        """Take in the part that was applied last."""
        self._waiting.append(commit)
        self.settled.clear()

    def take(self) -> list[Commit]:
        """Return the oldest parts that may be stored together; none while others are being written.

        A part with an erasure goes alone: its receipt says at which offset of the changelog its records begin.
        """
        if self._writing:
            return []
        ready = list(takewhile(lambda commit: commit.ready, self._waiting))
        plain = list(takewhile(lambda commit: not commit.turn.effects.erased, ready))
        group = plain or ready[:1]
        self._writing = len(group)
        return group

    def written(self) -> None:
        """Let go of what was taken last."""
        for _ in range(self._writing):
            self._waiting.popleft()
        self._writing = 0
        if not self._waiting:
            self.settled.set()


def newest(batches: Iterable[Mapping[bytes, Any]]) -> dict[bytes, Any]:
    """Return the newest record of each key, in the order in which those records were made."""
    merged: dict[bytes, Any] = {}
    for records in batches:
        if merged:
            for key in merged.keys() & records.keys():
                del merged[key]  # a state must stand behind the chunks of seen videos that it rests on
        merged.update(records)
    return merged


__all__ = ["Commit", "Commits", "newest"]
