"""Which offset may be committed, when batches are acknowledged in any order."""

from __future__ import annotations


class RangeWatermark:
    """Ranges of offsets that cover a partition without gaps from `position` on.

    Attributes:
      position: every offset below it is acknowledged; this is what may be committed.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self._acked: dict[int, int] = {}

    def ack(self, begin: int, end: int) -> None:
        """Acknowledge the range [begin, end). Ranges below the position, seen again after a seek, change nothing.

        Raises:
          ValueError: the range is empty.
        """
        if begin >= end:
            raise ValueError(f"empty range [{begin}, {end})")
        if begin < self.position:
            return
        self._acked[begin] = end
        while (reached := self._acked.pop(self.position, None)) is not None:
            self.position = reached
