"""Batches that wait for their turn, and grow while they wait.

What the fetching thread brings for a partition joins the batch of it that waits already. So a worker that is behind
applies few large batches instead of many small ones, and a batch's fixed cost is paid once for all of them. One lock
guards what both threads touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from faust.types import TP

WAITING = 2  # batches of a partition that may wait: a full one, and one that is filled


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one partition that are applied together.

    Attributes:
      records: aiokafka's records, by offset.
      begin, end: the range of offsets that the batch stands for; holes left by compaction belong to it.
      epoch: of the assignment and seek under which it was fetched; a batch of an older epoch must not be applied.
    """

    tp: TP
    records: list[Any]
    begin: int
    end: int
    epoch: int


def cut(batch: Batch, offsets: Sequence[int]) -> list[Batch]:
    """Return a batch in parts that begin at these offsets, as far as they lie within it; no part is without records."""
    parts, begin = [], batch.begin
    for end in [*sorted(offset for offset in offsets if batch.begin < offset < batch.end), batch.end]:
        records = [record for record in batch.records if begin <= record.offset < end]
        if records:
            parts.append(replace(batch, records=records, begin=begin, end=end))
            begin = end
    return parts


@dataclass
class Waiting:
    """The batches that wait, oldest first.

    Attributes:
      most: records of a batch, unless one poll brings more.
    """

    most: int
    _batches: dict[TP, list[Batch]] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock)

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._batches.values()))

    def add(self, batch: Batch) -> bool:
        """Take records that follow those of the partition's last batch; return whether they are a batch of theirs."""
        with self._lock:
            waiting = self._batches.setdefault(batch.tp, [])
            last = waiting[-1] if waiting else None
            if last is not None and last.epoch == batch.epoch and len(last.records) + len(batch.records) <= self.most:
                last.records.extend(batch.records)
                last.end = batch.end
                return False
            waiting.append(batch)
            return True

    def close(self, batch: Batch) -> None:
        """Let nothing join a batch any more: its turn has come."""
        with self._lock:
            waiting = self._batches.get(batch.tp, [])
            if batch in waiting:
                waiting.remove(batch)

    def clear(self) -> None:
        """Forget all batches: they are stale, and nothing may join them."""
        with self._lock:
            self._batches.clear()

    def with_room(self, partitions: Iterable[TP]) -> set[TP]:
        """Return which partitions may be fetched."""
        with self._lock:
            return {tp for tp in partitions if len(self._batches.get(tp, ())) < WAITING}
