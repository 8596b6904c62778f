"""How far feedback is learned from: which records lie before and after a cut in the order of their arrival."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Through:
    """What a version has learned from, as its manifest says it."""

    records: int = 0
    offsets: Mapping[int, int] = field(default_factory=dict)  # by partition, the first that was not learned from
    time_ms: int = 0  # record time of the newest


class Journal:
    """Numbers the records of all partitions as they come, and keeps those that no version has learned from.

    Args:
      through: of the version in service.
    """

    def __init__(self, through: Through) -> None:
        self.through = through
        self._waiting: deque[tuple[int, int, int, int]] = deque()

    def note(self, number: int, partition: int, offset: int, time_ms: int) -> None:
        """Note a record that is new; `number` rises."""
        self._waiting.append((number, partition, offset, time_ms))

    def upto(self, number: int) -> Through:
        """Return what a version has learned from that knows every record up to `number`."""
        count, time_ms, offsets = self.through.records, self.through.time_ms, dict(self.through.offsets)
        for arrived, partition, offset, at_ms in self._waiting:
            if arrived > number:
                break
            count += 1
            offsets[partition] = offset + 1
            time_ms = max(time_ms, at_ms)
        return Through(count, offsets, time_ms)

    def learned(self, number: int) -> None:
        """Move on: every record up to `number` is learned from."""
        self.through = self.upto(number)
        while self._waiting and self._waiting[0][0] <= number:
            self._waiting.popleft()
