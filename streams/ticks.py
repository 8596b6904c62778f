"""When an idle partition needs a tick: a record that only moves its watermark."""

from __future__ import annotations

from streams.core.step import Partition


def tick_ms(core: Partition, idle_s: float, now_ms: int) -> int | None:
    """Return the timestamp of the tick that a partition needs, None for none.

    Its watermark goes on from where it stands, by the time that passes without events, and never beyond the present:
    in a replayed log of another year an idle second is a second, and no video expires because of it.
    """
    stamp = min(now_ms, core.watermark_ms + int(idle_s * 1000))
    return stamp if core.due_ms is not None and core.due_ms <= stamp else None
