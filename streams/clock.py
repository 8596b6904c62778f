"""The one place that reads the time."""

from __future__ import annotations

import time


class Clock:
    """Wall time for measuring and timestamps; the core never sees it."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that never go back, for durations."""
        return time.monotonic()
