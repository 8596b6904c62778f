"""The arm that knows each viewer's taste: the best video by true expected reward among all that may be shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from producers.behaviour import expected_reward
from producers.catalogue import Catalogue, Floats
from producers.parameters import BehaviourParameters

_REFRESH_MS = 1000


class Oracle:
    """Picks by the closed form of the expected reward; candidates are published, fresh, not withdrawn and unseen."""

    def __init__(self, catalogue: Catalogue, parameters: BehaviourParameters, fresh_ms: int) -> None:
        self._catalogue, self._p, self._fresh_ms = catalogue, parameters, fresh_ms
        self._version, self._at_ms = -1, 0
        self.candidates: NDArray[np.int64] = np.zeros(0, np.int64)

    def pick(self, tastes: Floats, seen: NDArray[np.int32], now_ms: int) -> NDArray[np.int64]:
        """Return the best unseen video [B]; -1 where there is none.

        Args:
          tastes: [B, D].
          seen: [B, S] video numbers, -1 where empty.
        """
        self._refresh(now_ms)
        if not len(self.candidates):
            return np.full(len(tastes), -1, np.int64)
        match = tastes.astype(np.float32) @ self._vectors.T
        value = expected_reward(match, self._quality, self._log_length, self._p)
        place = np.searchsorted(self.candidates, seen).clip(max=len(self.candidates) - 1)
        row, column = np.nonzero(self.candidates[place] == seen)
        value[row, place[row, column]] = -1.0
        best = value.argmax(axis=1)
        return np.where(value[np.arange(len(best)), best] >= 0, self.candidates[best], -1)

    def _refresh(self, now_ms: int) -> None:
        catalogue = self._catalogue
        if catalogue.version == self._version and now_ms - self._at_ms < _REFRESH_MS:
            return
        self._version, self._at_ms = catalogue.version, now_ms
        count = catalogue.count
        fresh = catalogue.published_ms[:count] + self._fresh_ms > now_ms
        self.candidates = np.flatnonzero(catalogue.live[:count] & fresh)
        self._vectors = catalogue.vectors[self.candidates].astype(np.float32)
        self._quality = catalogue.quality[self.candidates].astype(np.float32)[None, :]
        self._log_length = catalogue.log_length[self.candidates].astype(np.float32)[None, :]
