"""What a partition was applying when the process died: a range that ends it twice is bisected down to one record.

The note is written before a batch is applied in memory and taken back behind it, so it outlives a process that ends
without a word, and not the machine. A range found in it at a start is a suspect; where the next one ends within it,
the suspect shrinks to what both share, and from the second time on it is applied in halves.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from streams.gathering import Batch

_NOTE = struct.Struct("<5q")  # begin and end of the attempt, of the suspect, strikes; a range that is empty is none
TWICE = 2


class Attempts:
    """The note of one partition.

    Args:
      path: of its file; made when it is not there.

    Attributes:
      suspect: range of offsets in which the process died; empty for none.
      strikes: how often.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        raw = os.pread(self._file, _NOTE.size, 0)
        begin, end, first, stop, strikes = _NOTE.unpack(raw) if len(raw) == _NOTE.size else (0, 0, 0, 0, 0)
        self.suspect: tuple[int, int] = (first, stop)
        self.strikes: int = strikes
        if begin < end:
            self._died_in(begin, end)
        self._write(0, 0)

    def _died_in(self, begin: int, end: int) -> None:
        first, stop = max(begin, self.suspect[0]), min(end, self.suspect[1])
        if first < stop:
            self.suspect, self.strikes = (first, stop), self.strikes + 1
        else:
            self.suspect, self.strikes = (begin, end), 1

    @property
    def suspicious(self) -> bool:
        """Whether a range ended the process twice, and is not through yet."""
        return self.strikes >= TWICE

    def cuts(self, batch: Batch) -> list[int]:
        """Return where a batch must be cut, so that what is under suspicion is applied in smaller parts."""
        inside = self._inside(batch)
        if not inside:
            return []
        middle = [inside[len(inside) // 2]] if len(inside) > 1 else []
        return [inside[0], *middle, inside[-1] + 1]

    def culprit(self, part: Batch) -> bool:
        """Return whether a part is the one record that the process dies of."""
        inside = self._inside(part)
        return len(inside) == len(part.records) == 1 and self.suspect[1] <= part.end

    def _inside(self, batch: Batch) -> list[int]:
        if not self.suspicious:
            return []
        return [record.offset for record in batch.records if self.suspect[0] <= record.offset < self.suspect[1]]

    def begin(self, part: Batch) -> None:
        """Note that a part is about to be applied."""
        self._write(part.begin, part.end)

    def done(self, part: Batch) -> None:
        """Take the note back: the part was applied, or it is not its fault that it was not."""
        if self.strikes and part.end > self.suspect[0]:
            first = max(self.suspect[0], part.end)
            self.suspect, self.strikes = (first, self.suspect[1]), self.strikes if first < self.suspect[1] else 0
        self._write(0, 0)

    def acquit(self) -> None:
        """Take the note back, and keep the suspect: the process ends for another reason."""
        self._write(0, 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, begin: int, end: int) -> None:
        os.pwrite(self._file, _NOTE.pack(begin, end, *self.suspect, self.strikes), 0)
