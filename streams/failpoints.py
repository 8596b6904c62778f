"""Named points in the order of work at which a test lets the process fail; inert unless a setting names one.

`FRESHLOOP_FAILPOINT=after-changelog:3` ends the process, without any clean-up, the third time it gets there. A third
part chooses what happens: `kill` (the default), `raise` an exception, or `stop` the process until it gets SIGCONT.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

#: Points, in the order in which a batch meets them; then those of a start and of a rebalance.
POINTS = (
    "batch-applied", "journal-written", "slates-published", "changelog-part", "changelog-published", "store-written",
    "acknowledged", "committed",
    "rebalance", "fenced", "recovery-part", "recovered", "positions-found",
)  # fmt: skip
ACTIONS = ("kill", "raise", "stop")


class FailpointError(Exception):
    """Raised by a failpoint that was set to `raise`."""


def _inert(point: str) -> None:
    """Nothing is armed."""


reached: Callable[[str], None] = _inert
_point = ""


def armed(point: str) -> bool:
    """Return whether a point is armed, where reaching it precisely takes more than a call."""
    return point == _point


def parse(text: str) -> tuple[str, int, str]:
    """Return point, count and action of `POINT[:COUNT[:ACTION]]`.

    Raises:
      ValueError: one sentence that says what is wrong.
    """
    point, _, rest = text.partition(":")
    count, _, action = rest.partition(":")
    if point not in POINTS:
        raise ValueError(f"{point!r} is no failpoint; there are {', '.join(POINTS)}")
    if count and not (count.isascii() and count.isdigit() and int(count)):
        raise ValueError(f"{count!r} is no count from 1 on")
    if action and action not in ACTIONS:
        raise ValueError(f"{action!r} is no action; there are {', '.join(ACTIONS)}")
    return point, int(count or 1), action or "kill"


def arm(text: str) -> None:
    """Fail as `text` says (see `parse`); an empty text arms nothing."""
    global reached, _point
    reached, _point = (_armed(*parse(text)), parse(text)[0]) if text else (_inert, "")


def _armed(point: str, count: int, action: str) -> Callable[[str], None]:
    left = count

    def reach(name: str) -> None:
        nonlocal left
        if name != point:
            return
        left -= 1
        if left:
            return
        if action == "raise":
            raise FailpointError(f"failpoint {point} was reached {count} times")
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)

    return reach
