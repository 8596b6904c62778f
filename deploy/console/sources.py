"""What the console knows of the loop: metrics of every part, model versions, the simulator's summary, the demo."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from typing import Any

from deploy import control
from deploy.console.api import Api, ApiDown, ApiRefused
from deploy.scrape import Samples, Totals, quantile, scrape, total
from streams.clock import Clock
from streams.config import Settings

PERIOD_S = 1.0
KEPT = 300  # looks, five minutes
WINDOW = 60  # looks that a histogram shows
FRESHNESS = {
    "event → state": "freshloop_event_to_state_seconds",
    "event → slate": "freshloop_event_to_slate_seconds",
    "published → recommendable": "freshloop_published_to_recommendable_seconds",
    "feedback → serving model": "freshloop_feedback_to_serving_seconds",
}
_COUNTED = {
    "events": "freshloop_events_total",
    "slates": "freshloop_slates_total",
    "feedback": "freshloop_feedback_total",
}
Buckets = dict[float, float]


class Sources:
    """Looks once a second; the pages read what was seen last.

    Attributes:
      health: of the worker asked last, empty while none answers.
      models: `/v1/models`, as last seen.
      demo: `deploy.control.status`; simulated: the simulator's summary.
      looks: one row of figures a look, oldest first.
    """

    def __init__(self, settings: Settings, api: Api) -> None:
        self.settings, self.api, self._clock = settings, api, Clock()
        self.health: dict[str, Any] = {}
        self.models: dict[str, Any] = {}
        self.demo: dict[str, Any] = {}
        self.simulated: dict[str, Any] = {}
        self.looks: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._buckets: deque[dict[str, Buckets]] = deque(maxlen=WINDOW + 1)
        self._parts: dict[int, Totals] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        number = 0
        while True:
            started = time.monotonic()
            await self._look(number)
            number += 1
            await asyncio.sleep(max(0.1, PERIOD_S - (time.monotonic() - started)))

    def now_ms(self) -> int:
        """Return the time of day, in milliseconds since the Unix epoch."""
        return self._clock.now_ms()

    def ports(self) -> dict[str, int]:
        """Return metrics ports by part: of the demo, or where the parts serve them by default."""
        parts = {one["name"]: one["metrics_port"] for one in self.demo.get("parts", ()) if one["metrics_port"]}
        first = self.settings.metrics_port
        return parts or {**{f"worker-{n}": first + n for n in range(3)}, "trainer": first + 50}

    def samples(self) -> list[Samples]:
        """Return the newest samples of every part."""
        return [totals.samples() for totals in self._parts.values()]

    def histogram(self, name: str) -> tuple[Buckets, float | None, float | None]:
        """Return counts by upper bound (not cumulative) over the last minute, and p50 and p99 in seconds."""
        if not self._buckets:
            return {}, None, None
        newest, oldest = self._buckets[-1].get(name, {}), self._buckets[0].get(name, {})
        cumulative = {bound: max(0.0, count - oldest.get(bound, 0.0)) for bound, count in sorted(newest.items())}
        if not any(cumulative.values()):
            cumulative = dict(sorted(newest.items()))  # nothing new: what there is
        samples: Samples = {(f"{name}_bucket", (("le", str(bound)),)): value for bound, value in cumulative.items()}
        below, single = 0.0, {}
        for bound, count in cumulative.items():
            single[bound], below = max(0.0, count - below), max(below, count)
        return single, quantile([samples], name, 0.5), quantile([samples], name, 0.99)

    async def _look(self, number: int) -> None:
        self.demo = control.status(self.settings.data_dir)
        self.simulated = self._summary()
        ports = list(dict.fromkeys(self.ports().values()))
        host = "127.0.0.1" if self.settings.http_host in ("0.0.0.0", "::") else self.settings.http_host
        found = await asyncio.gather(*(asyncio.to_thread(scrape, port, host) for port in ports))
        for port, samples in zip(ports, found, strict=True):
            self._parts.setdefault(port, Totals()).look(samples)
        await self._ask(number)
        self._note()

    async def _ask(self, number: int) -> None:
        try:
            self.health = await self.api.health()
            if number % 2 == 0:
                self.models = await self.api.get("/v1/models")
        except (ApiDown, ApiRefused):
            self.health = {}

    def _summary(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.settings.data_dir / "simulate.json").read_text("utf-8"))
            return found
        return {}

    def _note(self) -> None:
        samples = self.samples()
        buckets: dict[str, Buckets] = {name: {} for name in FRESHNESS.values()}
        for one in samples:
            for (name, labels), value in one.items():
                if name.endswith("_bucket") and (base := name.removesuffix("_bucket")) in buckets:
                    bound = float(dict(labels)["le"])
                    buckets[base][bound] = buckets[base].get(bound, 0.0) + value
        self._buckets.append(buckets)
        now = time.monotonic()
        row: dict[str, Any] = {"at": now, "clock": time.strftime("%H:%M:%S")}
        row |= {f"{name}_total": total(samples, metric) for name, metric in _COUNTED.items()}
        before = self.looks[-1] if self.looks else row
        span = max(now - before["at"], 1e-6)
        for name in _COUNTED:
            rose = row[f"{name}_total"] - before[f"{name}_total"]
            row[name] = round(max(0.0, rose) / span, 1) if before is not row else 0.0
        _, row["p50"], row["p99"] = self.histogram("freshloop_event_to_slate_seconds")
        row["version"] = self.health.get("model_version")
        row["videos"] = self.health.get("videos")
        row["dead"] = int(total(samples, "freshloop_dead_letters_total"))
        row["reward"] = (self.simulated.get("last_minute") or {}).get("reward") or {}
        self.looks.append(row)
