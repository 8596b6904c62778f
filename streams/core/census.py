"""How many videos are fresh at a moment, and the youngest and oldest of them, without a look at every slot.

Every video is fresh for the same time, so that the order of publication is the order of expiry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Census:
    """Publication times, ms, of all videos that are not withdrawn, ascending.

    Args:
      fresh_ms: a video is fresh for this long after its publication.
    """

    def __init__(self, fresh_ms: int) -> None:
        self._fresh_ms = fresh_ms
        self._times = np.zeros(0, np.int64)

    def change(self, gone: list[int], come: list[int]) -> None:
        """Take out some times, each of which is there, and put in others."""
        if gone:
            leaving = np.sort(np.array(gone, np.int64))
            first = np.searchsorted(self._times, leaving)
            among = np.arange(len(leaving)) - np.searchsorted(leaving, leaving)  # equal times leave one after the other
            self._times = np.delete(self._times, first + among)
        if come:
            arriving = np.sort(np.array(come, np.int64))
            self._times = np.insert(self._times, np.searchsorted(self._times, arriving), arriving)

    def count(self, now_ms: Ints) -> Ints:
        """Return how many videos are fresh at moments [B]."""
        return len(self._times) - self._first(now_ms)

    def ages(self, now_ms: Ints) -> tuple[Ints, Ints, Ints]:
        """Return publication times of the youngest and oldest fresh video, and how many there are, at moments [B].

        Where nothing is fresh, the youngest is 0 and the oldest the moment itself, which is also the latest it can be.
        """
        first = self._first(now_ms)
        count = len(self._times) - first
        if not len(self._times):
            return np.zeros_like(now_ms), now_ms, count
        youngest = np.where(count > 0, max(0, int(self._times[-1])), 0)
        oldest = np.where(count > 0, self._times[np.minimum(first, len(self._times) - 1)], now_ms)
        return youngest, np.minimum(oldest, now_ms), count

    def _first(self, now_ms: Ints) -> Ints:
        return np.searchsorted(self._times, now_ms - self._fresh_ms, side="right")
