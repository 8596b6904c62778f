"""Which offset may be committed when batches are acknowledged in any order, and where to go on after a restart."""

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


class GapError(Exception):
    """Events lie between a state and what would be applied next; going on would lose them."""


def resume_at(name: str, first: int, applied: int, committed: int | None) -> int:
    """Return the offset where a partition goes on: where its state ends, which may be beyond what was committed.

    Args:
      name: of the partition, for the message.
      first: the oldest offset that the log still holds.
      applied: every event below it is in the states; 0 for none.
      committed: of the consumer group, None when there is none.
    Raises:
      GapError: events between the state and the log's beginning are gone, or states are.
    """
    cure = "set FRESHLOOP_APP_ID to a new name to build the states from the events that are kept"
    if (committed or 0) > applied:
        raise GapError(
            f"{name} was committed up to {committed} but its state ends at {applied}: states were lost; {cure}"
        )
    if applied and first > applied:
        raise GapError(f"{name} begins at {first} but its state ends at {applied}: events were deleted unread; {cure}")
    return max(applied, first)
