"""Which slot of the pool belongs to which video: by id, by key and by the low 32 bits of the key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.core.hashing import key64

_LOW = 0xFFFF_FFFF


class Slots:
    """Owners of slots [S].

    Attributes:
      ids: object [S], video ids; `keys` int64 [S], their `key64`.
      of_id, of_key: slots by them.
      twins: slots whose keys share their low 32 bits, by those bits; empty but by rare chance.
    """

    def __init__(self, capacity: int) -> None:
        self.ids = np.full(capacity, "", object)
        self.keys = np.zeros(capacity, np.int64)
        self.of_id: dict[str, int] = {}
        self.of_key: dict[int, int] = {}
        self.twins: dict[int, list[int]] = {}
        self._of_low: dict[int, int] = {}

    def of_low(self, low: int) -> Sequence[int]:
        """Return the slots of videos whose key has these low 32 bits; nearly always one or none."""
        slot = self._of_low.get(low)
        return () if slot is None else self.twins.get(low, (slot,))

    def give(self, slot: int, video_id: str) -> None:
        """Give a free slot to a video."""
        key = key64(video_id)
        self.ids[slot], self.keys[slot] = video_id, key
        self.of_key[key] = self.of_id[video_id] = slot
        first = self._of_low.setdefault(key & _LOW, slot)
        if first != slot:
            self.twins.setdefault(key & _LOW, [first]).append(slot)

    def take(self, slot: int) -> None:
        """Take a slot from its owner."""
        key = int(self.keys[slot])
        low = key & _LOW
        self.of_key.pop(key, None)
        del self.of_id[self.ids[slot]]
        twins = [twin for twin in self.twins.pop(low, ()) if twin != slot]
        if twins:
            self._of_low[low] = twins[0]
            if len(twins) > 1:
                self.twins[low] = twins
        else:
            del self._of_low[low]
