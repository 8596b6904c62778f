"""Seen videos of a batch's viewers by key, for pools whose slots would be too many bits a viewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_ROW = np.uint64(32)


class SeenKeys:
    """What viewers [B] have seen: the low 32 bits of keys, each once, as one ascending array of (row, key).

    Attributes:
      counts: int64 [B], seen videos by row.
    """

    def __init__(self, rows: Sequence[NDArray[np.uint32]]) -> None:
        self.counts = np.fromiter(map(len, rows), np.int64, len(rows))
        keys = np.concatenate(rows) if rows else np.zeros(0, np.uint32)
        self._words = _words(np.repeat(np.arange(len(rows)), self.counts), keys)
        self._words.sort()

    def of(self, row: int) -> NDArray[np.uint32]:
        """Return the keys that a row has seen, ascending."""
        first, last = np.searchsorted(self._words, np.array([row, row + 1], np.uint64) << _ROW)
        return self._words[first:last].astype(np.uint32)

    def holds(self, rows: Ints, keys: Ints) -> NDArray[np.bool_]:
        """Return whether rows [M] have seen videos with keys [M]."""
        if not len(self._words):
            return np.zeros(len(rows), bool)
        wanted = _words(rows, keys.astype(np.uint32))
        at = np.minimum(np.searchsorted(self._words, wanted), len(self._words) - 1)
        found: NDArray[np.bool_] = self._words[at] == wanted
        return found


def _words(rows: Ints, keys: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return (rows.astype(np.uint64) << _ROW) | keys
