"""Reads what the workers publish and what they committed, into a tally, and tells when nothing moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kafka import TopicPartition

from producers.cluster import Cluster
from producers.logs import event_number
from producers.tally import Progress, Tally
from streams.clock import Clock
from streams.codecs import BadRecord, Decoder
from streams.config import Settings
from streams.core.events import Event, Feedback, Slate, Video
from streams.core.state import StateError, last_offset_of, steps_of
from streams.topics import Topics

ASK_S = 0.5  # between two questions for committed offsets and workers

_decode_slate = Decoder(Slate)
_decode_feedback = Decoder(Feedback)
_decode_event = Decoder(Event)
_decode_video = Decoder(Video)


class Watcher:
    """Follows one run in the workers' topics.

    Args:
      patience_s: `stalled` tells when nothing was applied for so long.
      look_after: called about twice a second.
      from_start: read the topics from their beginning, for a run that was begun before.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        tally: Tally,
        patience_s: float,
        look_after: Callable[[], None],
        from_start: bool,
    ) -> None:
        self._cluster, self._tally, self._patience_s, self._look_after = cluster, tally, patience_s, look_after
        self._topics = Topics(settings)
        self._clock = Clock()
        self._outputs = (self._topics.recommendations, self._topics.feedback, self._topics.dead_letters)
        starts = {
            TopicPartition(topic, number): 0 if from_start else end
            for topic in self._outputs
            for number, end in cluster.ends(topic).items()
        }
        self._consumer = cluster.consumer(starts)
        self._asked = -ASK_S
        self._moved, self._mark = self._clock.monotonic(), (0, 0, 0)
        self.committed: dict[int, int] = {}
        self.workers: int | None = None

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def poll(self, timeout_s: float = 0.0) -> None:
        """Take what was published, waiting so long for the first of it."""
        for tp, records in self._consumer.poll(timeout_ms=int(timeout_s * 1000)).items():
            for record in records:
                self._take(tp.topic, record)
        now = self._clock.monotonic()
        if now - self._asked >= ASK_S:
            self._asked = now
            self._look_after()
            self.ask()

    def ask(self) -> None:
        """Ask for the workers and what they committed."""
        self.workers = self._cluster.workers()
        self.committed = self._cluster.committed(self._topics.events)
        self._tally.commit(self.committed)

    def rest(self) -> None:
        """Forget how long nothing moved, because there was nothing to do."""
        self._moved = self._clock.monotonic()

    @property
    def stalled(self) -> bool:
        """Whether nothing was applied for longer than patience."""
        mark = (len(self._tally.stepped), sum(self.committed.values()), len(self._tally.letters))
        now = self._clock.monotonic()
        if mark != self._mark:
            self._mark, self._moved = mark, now
        return now - self._moved > self._patience_s

    def read_to_end(self) -> None:
        """Take everything that is published by now."""
        wanted = {
            TopicPartition(topic, number): end
            for topic in self._outputs
            for number, end in self._cluster.ends(topic).items()
        }
        while any(self._consumer.position(tp) < end for tp, end in wanted.items()) and not self.stalled:
            self.poll(0.2)
        self._tally.commit(self.committed)

    def _take(self, topic: str, record: Any) -> None:
        tally = self._tally
        try:
            if topic == self._topics.recommendations:
                tally.take_slate(_decode_slate(record.value))
            elif topic == self._topics.feedback:
                tally.take_feedback(_decode_feedback(record.value), record.partition)
            elif self._is_ours(record):
                tally.letters.add(_origin(record))
        except BadRecord:
            return  # another's record, or of another version

    def _is_ours(self, record: Any) -> bool:
        """Tell whether a dead letter holds a record of this run; the original value is untouched in it."""
        if _origin(record)[0] == self._topics.videos:
            return _decode_video(record.value).video_id in self._tally.videos
        return event_number(self._tally.run, _decode_event(record.value).event_id) is not None


class StoredStates:
    """Steps and last offsets of all users, from the changelog of their states."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        """Args: settings: name the changelog; nothing is read yet."""
        self._topic, self._cluster = Topics(settings).states, cluster
        self._read_to: dict[int, int] = {}
        self.progress: dict[str, Progress] = {}

    def update(self, beat: Callable[[], None] = lambda: None) -> Mapping[str, Progress]:
        """Read on to the present end; of several states of a user the one with the highest offset counts."""
        ends = self._cluster.ends(self._topic)
        for count, record in enumerate(self._cluster.read(self._topic, self._read_to, ends)):
            if count % 1000 == 0:
                beat()
            if not record.key.startswith(b"u") or record.value is None:
                continue
            try:
                found = Progress(steps_of(record.value), last_offset_of(record.value))
            except StateError:
                continue
            user = record.key[1:].decode()
            if found.last_offset >= self.progress.get(user, found).last_offset:
                self.progress[user] = found
        self._read_to = ends
        return self.progress


def _origin(record: Any) -> tuple[str, int, int]:
    headers = dict(record.headers)
    return headers.get("topic", b"").decode(), int(headers.get("partition", -1)), int(headers.get("offset", -1))
