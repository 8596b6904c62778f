"""Sending and watching at once: every wait of a replay looks at what the workers published meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from producers.sending import Sender
from producers.tally import Tally
from producers.view import View
from producers.watching import Watcher
from streams.clock import Clock
from streams.config import Settings
from streams.core.events import Event, Video
from streams.topics import Topics

SETTLE_S = 1.0  # five polls of a worker's broadcast consumer
FIRST_EVENTS = 64  # sent alone: enough that each of a few partitions has some
FIRST_EVENTS_S = 15.0  # the longest wait for their slates
JOIN_S = 30.0  # the longest wait for workers that are on their way
_LOOK_EVERY = 500  # events between two looks at what was published
_UNACKNOWLEDGED = 20_000  # most events in the producer's memory


class Stalled(Exception):
    """Nothing was applied for longer than patience, while something was to be."""


class Session:
    """One run on a connected cluster.

    Args:
      sent_to: the offset after the run's last event that the topic holds already, by partition.
      total: events of the log.
    """

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        watcher: Watcher,
        tally: Tally,
        view: View,
        sent_to: dict[int, int],
        total: int,
    ) -> None:
        self._topics, self._clock = Topics(settings), Clock()
        self._sender, self._watcher, self._tally, self._view = sender, watcher, tally, view
        self._sent_to, self._total = dict(sent_to), total

    def send_videos(self, videos: list[Video], coming: int = 0) -> int:
        """Send the videos, give running workers time to read them, and return how many workers there are.

        Args:
          coming: workers that were started just now, and are waited for; they may have looked for videos before.
        """
        for video in videos:
            self._sender.send(self._topics.videos, video.video_id, video)
        self._sender.flush()
        self._watcher.ask()
        deadline = self._clock.monotonic() + JOIN_S
        while (self._watcher.workers or 0) < coming and self._clock.monotonic() < deadline:
            self._look(0.2)
        if self._watcher.workers:
            self._pause(SETTLE_S)
        return self._watcher.workers or 0

    def send_first(self, events: Iterator[Event]) -> None:
        """Send the first events alone, until their slates were chosen from every video of the log."""
        deadline = self._clock.monotonic() + FIRST_EVENTS_S
        short = -1
        while self._tally.short_slates > short and self._clock.monotonic() < deadline:
            short = self._tally.short_slates
            for event in islice(events, FIRST_EVENTS):
                self._send(event)
            self._sender.flush()
            while not self._settled and self._clock.monotonic() < deadline:
                self._look(0.1)
            self._watcher.read_to_end()
            if self._tally.short_slates > short:
                self._pause(SETTLE_S)

    def send_events(self, events: Iterator[Event], speed: float | None) -> None:
        """Send the events, at a multiple of their own pace, or with None as fast as it goes.

        Raises:
          Stalled: patience ended.
        """
        started, first_ms = self._clock.monotonic(), None
        for count, event in enumerate(events, start=1):
            first_ms = event.event_time_ms if first_ms is None else first_ms
            if speed is not None:
                self._wait_until(started + (event.event_time_ms - first_ms) / 1000 / speed)
            self._send(event)
            if count % _LOOK_EVERY == 0:
                self._look()
            if count % _UNACKNOWLEDGED == 0:
                self._sender.flush()
        self._sender.flush()

    def finish(self) -> None:
        """Wait until the workers have committed what was sent, and take all they published.

        Raises:
          Stalled: patience ended.
        """
        self._look()
        while not self._settled:
            self._look(0.2)
        self._watcher.read_to_end()
        self._look()

    @property
    def _settled(self) -> bool:
        self._sent_to |= self._sender.ends.get(self._topics.events, {})
        committed = self._watcher.committed
        return all(committed.get(number, 0) >= end for number, end in self._sent_to.items())

    def _send(self, event: Event) -> None:
        self._sender.send(self._topics.events, event.user_id, event, event.event_time_ms)
        self._tally.send(event)

    def _wait_until(self, due: float) -> None:
        while (left := due - self._clock.monotonic()) > 0.002:
            self._look(min(left, 0.5))

    def _pause(self, seconds: float) -> None:
        self._wait_until(self._clock.monotonic() + seconds)

    def _look(self, timeout_s: float = 0.0) -> None:
        self._watcher.poll(timeout_s)
        self._view.show(len(self._tally.confirmed), self._total)
        if self._settled:
            self._watcher.rest()
        elif self._watcher.stalled:
            raise Stalled
