"""Which model versions the slates name, per arm, and how old slates are when they arrive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.core.events import Slate

_SETTLED_MS = 3_000  # workers swap at slightly different moments; an older version beyond this is meant
_LONGEST_MS = 60_000


class VersionsSeen:
    """Versions and delays of the slates that viewers looked at.

    Args:
      run: begins the ids of this run's events; slates that others triggered are passed over.

    Attributes:
      frozen_since_ms: when the frozen arm was first seen to stay behind the online arm; None so far.
    """

    def __init__(self, arms: Sequence[str], run: str) -> None:
        self._arms, self._run = tuple(arms), f"{run}-"
        self._first_ms: dict[str, dict[int, int]] = {arm: {} for arm in arms}
        self._delays = np.zeros(_LONGEST_MS + 1, np.int64)
        self.frozen_since_ms: int | None = None

    def note(self, arm: int, slate: Slate, arrived_ms: int) -> None:
        """Take note of a slate of an arm; one that an earlier run triggered is passed over."""
        if not slate.event_id.startswith(self._run):
            return
        name = self._arms[arm]
        self._first_ms[name].setdefault(slate.model_version, arrived_ms)
        self._delays[min(max(arrived_ms - slate.event_time_ms, 0), _LONGEST_MS)] += 1
        if name == "frozen" and self.frozen_since_ms is None:
            online = self._first_ms.get("online", {})
            newest = max(online, default=-1)
            if newest > slate.model_version and arrived_ms - online[newest] > _SETTLED_MS:
                self.frozen_since_ms = arrived_ms

    def versions(self) -> dict[str, list[int]]:
        """Return the versions seen, by arm, rising."""
        return {arm: sorted(found) for arm, found in self._first_ms.items()}

    def delay_ms(self) -> dict[str, int | None]:
        """Return p50, p99 and count of event to slate, as the viewers see it."""
        counted = np.cumsum(self._delays)
        total = int(counted[-1])

        def quantile(q: float) -> int | None:
            return int(np.searchsorted(counted, q * total, side="left")) if total else None

        return {"p50": quantile(0.5), "p99": quantile(0.99), "count": total}
