"""When what happened becomes visible: at the next boundary of log time, a multiple of the delay since the epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from model.inputs import Exposure

NEVER = -1  # as a delay: nothing that comes becomes visible
AT_ONCE = 0


def period(at_ms: int, every_ms: int) -> int:
    """Return the number of the period between two boundaries that a moment lies in; a boundary begins its period."""
    return at_ms // every_ms


class Queue:
    """Events that wait for their boundary, oldest first. An event is visible from the first boundary after it on.

    Args:
      every_ms: between boundaries, or NEVER.
    """

    def __init__(self, every_ms: int) -> None:
        self.every_ms = every_ms
        self._waiting: deque[Exposure] = deque()
        self._of_user: dict[int, int] = {}

    def add(self, event: Exposure) -> None:
        """Take an event that has happened."""
        self._of_user[event.user] = self._of_user.get(event.user, 0) + 1
        if self.every_ms != NEVER:
            self._waiting.append(event)

    def waits(self, user: int) -> bool:
        """Return whether something of a user is not visible yet."""
        return self._of_user.get(user, 0) > 0

    def visible(self, now_ms: int) -> Iterator[Exposure]:
        """Yield the events that have become visible by now, and forget them."""
        while self._waiting:
            if period(self._waiting[0].time_ms, self.every_ms) >= period(now_ms, self.every_ms):
                return
            event = self._waiting.popleft()
            self._of_user[event.user] -= 1
            yield event


class Boundary:
    """Tells, once for each period, that a new one has begun.

    Args:
      every_ms: between boundaries, or NEVER.
    """

    def __init__(self, every_ms: int, start_ms: int) -> None:
        self.every_ms = every_ms
        self._period = 0 if every_ms == NEVER else period(start_ms, every_ms)

    def passed(self, now_ms: int) -> bool:
        """Return whether a boundary lies between the moment that was last asked about and this one."""
        if self.every_ms == NEVER:
            return False
        before, self._period = self._period, max(self._period, period(now_ms, self.every_ms))
        return self._period > before
