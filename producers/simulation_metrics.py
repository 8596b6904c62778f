"""What the simulator measures, for Prometheus. No label holds a user or a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.core.events import Event


class SimulationMetrics:
    """The metrics of one simulator, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry, arms: Sequence[str]) -> None:
        self.registry = registry
        self._arms = (*arms, "oracle")
        self.events = Counter("freshloop_simulated_events_total", "Events sent.", ["type"], registry=registry)
        self.videos = Counter("freshloop_simulated_videos_total", "Videos sent.", ["change"], registry=registry)
        self.active = Gauge("freshloop_simulated_active_viewers", "Viewers in a session.", registry=registry)
        self.slates = Gauge("freshloop_simulated_slates", "Slates that came so far.", registry=registry)
        self.delay = Gauge(
            "freshloop_simulated_event_to_slate_seconds", "Event to slate, as viewers see it.", ["quantile"],
            registry=registry,
        )  # fmt: skip
        self.reward = Gauge(
            "freshloop_simulated_reward", "Mean true reward of an impression.", ["arm"], registry=registry
        )
        self.share = Gauge(
            "freshloop_simulated_reward_share", "Reward on the way from random (0) to the oracle (1).", ["arm"],
            registry=registry,
        )  # fmt: skip

    def count(self, events: Sequence[Event]) -> None:
        """Count events that were sent."""
        by_type: dict[str, int] = {}
        for event in events:
            by_type[event.type.value] = by_type.get(event.type.value, 0) + 1
        for name, number in by_type.items():
            self.events.labels(name).inc(number)

    def show(self, summary: dict[str, Any]) -> None:
        """Show a summary's figures; those that cannot be said yet are left out."""
        self.active.set(summary["active_viewers"])
        self.slates.set(summary["slates"])
        for quantile in ("p50", "p99"):
            if summary["event_to_slate_ms"][quantile] is not None:
                self.delay.labels(quantile).set(summary["event_to_slate_ms"][quantile] / 1000)
        for arm in self._arms:
            for gauge, name in ((self.reward, "reward"), (self.share, "reward_share")):
                if summary[name].get(arm) is not None:
                    gauge.labels(arm).set(summary[name][arm])
