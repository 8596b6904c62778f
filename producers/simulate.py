"""The simulator's process: paces the simulated world against real time and carries it to Kafka and back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from producers.catalogue import is_simulated
from producers.cluster import Cluster
from producers.parameters import Parameters
from producers.post import Inbox, Outbox
from producers.simulation import Setup, Simulation
from producers.simulation_metrics import SimulationMetrics
from producers.studio import Studio
from streams.clock import Clock
from streams.config import ConfigError, Settings
from streams.pseudonyms import pseudonyms
from streams.topics import Topics

TICK_S = 0.02
_BURST_S = 0.25  # of events that a stall may leave to catch up on
_SUMMARY_S = 1.0


@dataclass(frozen=True)
class Options:
    """How to simulate.

    Attributes:
      rate: events per second; reached evenly over the first `ramp_s` seconds.
      videos: the initial catalogue; publish_rate: videos per second after it.
      products, rooms: shares of the videos that are products and live rooms.
      seconds: the run ends by itself after this; None: it does not.
      summary: a file that is kept up to date.
    """

    viewers: int = 1000
    rate: float = 500.0
    ramp_s: float = 0.0
    seed: int = 1
    arms: tuple[str, ...] = ("online",)
    videos: int = 2000
    publish_rate: float = 4.0
    seconds: float | None = None
    measure_from: str = "start"
    jump_at_s: float | None = None
    products: float = 0.0
    rooms: float = 0.0
    summary: Path | None = None

    def rate_after(self, seconds: float) -> float:
        """Return the events per second at this time of the run."""
        return self.rate * min(1.0, seconds / self.ramp_s) if self.ramp_s else self.rate


class Simulator:
    """One run.

    Args:
      progress: told a summary about once a second.

    Attributes:
      stopping: the run is about to end.
    """

    def __init__(
        self,
        settings: Settings,
        parameters: Parameters,
        options: Options,
        clock: Clock,
        say: Callable[[str], None],
        progress: Callable[[dict[str, Any]], None],
    ) -> None:
        self._settings, self._options, self._clock = settings, options, clock
        self._say, self._progress = say, progress
        self.stopping = False
        setup = Setup(
            viewers=options.viewers,
            arms=options.arms,
            seed=options.seed,
            run=f"s{options.seed}-{clock.now_ms():x}",
            label_window_ms=round(1000 * settings.label_window_s),
            fresh_ms=round(3_600_000 * settings.fresh_hours),
            jump_at_s=options.jump_at_s,
            measure_from=options.measure_from,
            rename=pseudonyms(settings),
            products=options.products,
            rooms=options.rooms,
        )
        self.world = Simulation(parameters, setup)
        self._parameters = parameters
        self.metrics = SimulationMetrics(CollectorRegistry(), options.arms)
        self._sent = 0

    def stop(self) -> None:
        """Let the run end after the present tick; may be called from a signal handler."""
        self.stopping = True

    def jump(self) -> None:
        """Let every viewer's taste jump; called by a signal handler."""
        if self.world.start_ms:
            self.world.jump(self._clock.now_ms())

    def run(self) -> dict[str, Any]:
        """Publish the catalogue, let the viewers come until it is time or `stop` is called, and return the summary.

        Raises:
          ConfigError: the cluster does not answer, or a file cannot be written.
        """
        outbox = Outbox(self._settings)
        try:
            self._publish(outbox)
            inbox = Inbox(self._settings, self._clock)
            try:
                self._live(outbox, inbox)
                outbox.events(self._counted(self.world.finish(self._clock.now_ms())))
                outbox.flush()
                return self._report(inbox, running=False)
            finally:
                inbox.close()
        finally:
            outbox.close()

    def _publish(self, outbox: Outbox) -> None:
        """Withdraw what earlier simulations left, and publish the initial catalogue."""
        now_ms = self._clock.now_ms()
        plain = self.world.catalogue.open(self._options.videos, now_ms)
        videos = [self.world.goods.made_of(video, now_ms) for video in plain]
        mine = {video.video_id for video in videos}
        left = [video_id for video_id in leftovers(self._settings) if video_id not in mine]
        if left:
            self._say(f"withdraws {len(left)} videos of an earlier simulation")
            outbox.videos((video_id, None) for video_id in left)
        outbox.videos((video.video_id, video) for video in videos)
        outbox.flush()
        self.metrics.videos.labels("published").inc(len(videos))
        self._say(f"published {len(videos)} videos; {self._options.viewers} viewers come")

    def _live(self, outbox: Outbox, inbox: Inbox) -> None:
        options = self._options
        begin = self._clock.monotonic()
        start_ms = self._clock.now_ms()
        self.world.begin(start_ms)
        catalogue, parameters = self.world.catalogue, self._parameters.catalogue
        self._studio = Studio(
            catalogue, parameters, options.publish_rate, self._settings.pool_capacity, start_ms, self.world.goods
        )
        tokens, last, told = 0.0, begin, begin
        now_ms = start_ms
        while not self.stopping:
            now = self._clock.monotonic()
            if options.seconds is not None and now - begin >= options.seconds:
                break
            rate = options.rate_after(now - begin)
            tokens = min(tokens + rate * (now - last), max(rate * _BURST_S, 1.0))
            last = now
            now_ms = max(now_ms, self._clock.now_ms())
            inbox.check()
            outbox.videos(self._studio.tick(now_ms))
            events = self._counted(self.world.tick(now_ms, int(tokens), inbox.letters))
            outbox.events(events)
            tokens -= len(events)
            if now - told >= _SUMMARY_S:
                told = now
                self._progress(self._report(inbox, running=True))
            time.sleep(max(0.0, TICK_S - (self._clock.monotonic() - now)))

    def _counted(self, events: list[Any]) -> list[Any]:
        self._sent += len(events)
        self.metrics.count(events)
        return events

    def _report(self, inbox: Inbox, running: bool) -> dict[str, Any]:
        summary = self._summary(inbox, running)
        self.metrics.show(summary)
        if self._options.summary is not None:
            write_atomically(self._options.summary, summary)
        return summary

    def _summary(self, inbox: Inbox, running: bool) -> dict[str, Any]:
        world, options = self.world, self._options
        seconds = (self._clock.now_ms() - world.start_ms) / 1000
        counts = {name: world.counts[name] for name in ("opens", "impressions", "outcomes", "reactions", "late")}
        return {
            "running": running,
            "seconds": round(seconds, 1),
            "seed": options.seed,
            "viewers": options.viewers,
            "arms": list(world.measures.arms),
            "events": self._sent,
            "events_per_second": round(self._sent / max(seconds, 1e-3), 1),
            **counts,
            "missing_outcomes": world.counts["missing"],
            "active_viewers": world.sessions.active,
            "videos": world.catalogue.count,
            "videos_published": self._studio.published,
            "videos_withdrawn": self._studio.withdrawn,
            "products_bought": world.goods.sold,
            "products_sold_out": world.goods.sold_out,
            "products_restocked": world.goods.restocked,
            "rooms_entered": world.goods.visits,
            "rooms_ended": world.goods.ended,
            "slates": inbox.count,
            "slates_unreadable": world.feeds.bad,
            "positions_unknown": world.feeds.unknown,
            "positions_withdrawn": world.feeds.gone,
            "event_to_slate_ms": world.versions.delay_ms(),
            "model_versions": world.versions.versions(),
            "frozen_since_ms": world.versions.frozen_since_ms,
            **world.measures.summary(),
        }


def leftovers(settings: Settings) -> list[str]:
    """Return the ids of live videos that simulations of any seed have published to the topic."""
    topic = Topics(settings).videos
    cluster = Cluster(settings)
    live: dict[str, bool] = {}
    try:
        ends = cluster.ends(topic)
        for record in cluster.read(topic, dict.fromkeys(ends, 0), ends):
            video_id = (record.key or b"").decode("utf-8", "replace")
            if is_simulated(video_id):
                live[video_id] = bool(record.value)
    finally:
        cluster.close()
    return [video_id for video_id, is_live in live.items() if is_live]


def write_atomically(path: Path, summary: dict[str, Any]) -> None:
    """Write a summary so that a reader sees the old one or the new one, whole.

    Raises:
      ConfigError: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(json.dumps(summary), "utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise ConfigError(f"the summary cannot be written to {path} (--summary): {error.strerror}") from None
