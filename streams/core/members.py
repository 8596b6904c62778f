"""Members of cells as a scan reads them: blocks of 64, each with one direction after the other, vectors side by side.

A cell owns whole blocks and fills them from the first place on. Who leaves is replaced by the cell's last members, so
that no block but a cell's last has room. The cells' number is given; blocks and slots grow as they are needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.ports import Floats
from streams.core.scan import LANES

Ints = NDArray[np.int64]


class Members:
    """Vectors [depth] by slot, each in a cell.

    Args:
      cells: how many there are.
      depth: of vectors; a multiple of 4.

    Attributes:
      blocks: float32 [blocks, depth, 64]; ids: int64 [blocks, 64], the slots of members. Beyond a cell's members
        both hold anything.
      table: int64 [cells, W], blocks of each cell; counts: int64 [cells], its members.
    """

    def __init__(self, cells: int, depth: int) -> None:
        self.blocks: Floats = np.zeros((0, depth, LANES), np.float32)
        self.ids = np.zeros((0, LANES), np.int64)
        self.table = np.zeros((cells, 0), np.int64)
        self.counts = np.zeros(cells, np.int64)
        self._owned = np.zeros(cells, np.int64)  # blocks of each cell
        self._used = 0
        self._places = np.zeros(0, np.int64)  # by slot: cell << 32 | place, or -1

    def __len__(self) -> int:
        return int(self.counts.sum())

    def put(self, slots: Ints, vectors: Floats, cells: Ints) -> None:
        """Add vectors [n, depth] of distinct slots [n], none of which is there, to cells [n]."""
        if not len(slots):
            return
        order = np.argsort(cells, kind="stable")
        slots, cells = slots[order], cells[order]
        more = np.bincount(cells, minlength=len(self.counts))
        place = self.counts[cells] + np.arange(len(cells)) - (np.cumsum(more) - more)[cells]
        self.counts += more
        self._own(-(-self.counts // LANES) - self._owned)
        short = int(slots.max()) + 1 - len(self._places)
        if short > 0:
            self._places = np.concatenate([self._places, np.full(max(short, len(self._places)), -1)])
        self._write(slots, cells, place, vectors[order])

    def drop(self, slots: Ints) -> None:
        """Take out distinct slots [n]; those that are not there do not matter."""
        slots = slots[slots < len(self._places)]
        slots = slots[self._places[slots] >= 0]
        words = np.sort(self._places[slots])
        self._places[slots] = -1
        cells, place = words >> 32, words & 0xFFFF_FFFF
        gone = np.bincount(cells, minlength=len(self.counts))
        self.counts -= gone
        # What stays of each cell's last `gone` members moves into the holes before them, both in ascending order.
        tail = np.repeat(np.arange(len(gone)), gone)
        last = self.counts[tail] + np.arange(len(tail)) - (np.cumsum(gone) - gone)[tail]
        stays = ~np.isin((tail << 32) | last, words, assume_unique=True)
        tail, last, hole = tail[stays], last[stays], place < self.counts[cells]
        block, lane = self.table[tail, last // LANES], last % LANES
        self._write(self.ids[block, lane], cells[hole], place[hole], self.blocks[block, :, lane])

    def _write(self, slots: Ints, cells: Ints, place: Ints, vectors: Floats) -> None:
        block, lane = self.table[cells, place // LANES], place % LANES
        self.blocks[block, :, lane], self.ids[block, lane] = vectors, slots
        self._places[slots] = (cells << 32) | place

    def _own(self, more: Ints) -> None:
        """Give cells so many blocks more [cells]; negative numbers are none."""
        cells = np.repeat(np.arange(len(more)), np.maximum(more, 0))
        if not len(cells):
            return
        nth = np.arange(len(cells)) - np.searchsorted(cells, cells) + self._owned[cells]
        wide = int(nth.max()) + 1 - self.table.shape[1]
        if wide > 0:
            self.table = np.pad(self.table, ((0, 0), (0, wide)))
        self.table[cells, nth] = self._used + np.arange(len(cells))
        self._owned += np.maximum(more, 0)
        self._used += len(cells)
        short = self._used - len(self.ids)
        if short > 0:
            short = max(short, len(self.ids) // 8)
            depth = self.blocks.shape[1]
            self.blocks = np.concatenate([self.blocks, np.zeros((short, depth, LANES), np.float32)])
            self.ids = np.concatenate([self.ids, np.zeros((short, LANES), np.int64)])
