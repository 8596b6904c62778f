"""What a worker takes from the broadcast topics: videos and their vectors, model versions, rewards into popularity."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from streams.clock import Clock
from streams.codecs import BadRecord, Decoder
from streams.core.activity import Activity
from streams.core.content import VideoContent
from streams.core.eligibility import Change
from streams.core.erasure import Erasure
from streams.core.events import Feedback, Video
from streams.core.graph import TagPairs
from streams.core.pool import FreshPool
from streams.journal import Ends
from streams.metrics import WorkerMetrics
from streams.models import ServingModels

log = logging.getLogger("freshloop.worker")

_decode_video = Decoder(Video)
_decode_content = Decoder(VideoContent)
_decode_feedback = Decoder(Feedback)
_decode_erasure = Decoder(Erasure)


class Rewards:
    """Turns feedback, whose later revisions include the earlier ones, into rewards to add.

    Remembers the newest `keep` impressions; a revision seen again adds nothing.
    """

    def __init__(self, keep: int = 50_000) -> None:
        self._keep = keep
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def increment(self, feedback: Feedback) -> float:
        """Return what this record adds to the label counted so far; may be negative after a `hide`."""
        revision, label = self._known.get(feedback.impression_id, (-1, 0.0))
        if feedback.revision <= revision:
            return 0.0
        self._known[feedback.impression_id] = (feedback.revision, feedback.label)
        self._known.move_to_end(feedback.impression_id)
        if len(self._known) > self._keep:
            self._known.popitem(last=False)
        return feedback.label - label


class Feeds:
    """Handlers of the broadcast topics; each is called in the worker's loop, between two batches.

    Args:
      on_bad: told of a record of videos or vectors that cannot be used.
      on_placed: told of pool slots that were given to a video, with the key of their former owner.
      activity: of users, for their friends; None where it is not followed.

    Attributes:
      live: what was there at the start has been read; only then are delays measured.
      tags: which tags go together.
      ends: of what the pool has of the topics.
    """

    def __init__(
        self,
        pool: FreshPool,
        models: ServingModels,
        metrics: WorkerMetrics,
        clock: Clock,
        on_bad: Callable[[Any, BadRecord], None],
        on_placed: Callable[[dict[int, int]], None],
        activity: Activity | None = None,
    ) -> None:
        self._pool, self._models, self._metrics, self._clock = pool, models, metrics, clock
        self._on_bad, self._on_placed = on_bad, on_placed
        self._rewards = Rewards()
        self.tags, self.activity = TagPairs(), activity
        self.live, self.ends = False, Ends(0, 0)

    def on_videos(self, records: Any) -> None:
        """Take published videos, and take out those with an empty value, record by record."""
        changes = []
        for record in records:
            try:
                if change := _change_of(record):
                    changes.append(change)
            except BadRecord as bad:
                self._on_bad(record, bad)
        there = [change for change in changes if not self._pool.is_closed(change.video_id)]
        new = {change.video_id: change.video for change in changes if self._pool.slot(change.video_id) < 0}
        self._on_placed(self._pool.take(changes))
        self.tags.add([video for video in new.values() if video is not None])
        self.ends = self.ends._replace(videos=max(self.ends.videos, records[-1].offset + 1))
        if self.live:
            self._observe(new, [change for change in there if self._pool.is_closed(change.video_id)])

    def _observe(self, new: Mapping[str, Video | None], ended: list[Change]) -> None:
        now = self._clock.now_ms()
        for video in new.values():
            if video is not None:
                self._metrics.published_to_recommendable.observe(max(0, now - video.published_ms) / 1000)
        for change in {change.video_id: change for change in ended}.values():
            self._metrics.ended_to_gone.observe(max(0, now - change.heard_ms) / 1000)

    def on_vectors(self, records: Any) -> None:
        """Add contents of videos. One that is withdrawn keeps its own, since hidden states rest on it."""
        contents, offsets = [], []
        for record in records:
            if not record.value:
                continue
            try:
                content = _decode_content(record.value)
                if record.key != content.video_id.encode():
                    raise BadRecord("key-mismatch", "the record's key is not the video_id")
            except BadRecord as bad:
                self._on_bad(record, bad)
                continue
            contents.append(content)
            offsets.append(record.offset)
        first = self._pool.note_contents(contents, offsets)
        self.ends = self.ends._replace(vectors=max(self.ends.vectors, records[-1].offset + 1))
        if self.live and first:
            now = self._clock.now_ms()
            for published_ms in self._pool.published_ms[first].tolist():
                self._metrics.published_to_vectors.observe(max(0, now - published_ms) / 1000)

    def on_models(self, records: Any) -> None:
        """Feed the registry; a complete and better version is swapped in here."""
        for record in records:
            refused = self._models.feed(record.key or b"", record.value)
            if refused:
                log.warning("model record refused: %s", refused)
                self._metrics.models_refused.labels(refused.split(":")[0]).inc()

    def on_feedback(self, records: Any) -> None:
        """Count rewards towards popularity, and note likes for friends.

        What cannot be read is the trainer's to count: only workers write here.
        """
        for record in records:
            try:
                feedback = _decode_feedback(record.value)
            except BadRecord:
                continue
            if self.activity is not None:
                self.activity.add(feedback)
            amount = self._rewards.increment(feedback)
            if amount:
                self._pool.reward(feedback.video_id, amount, feedback.impression_ms)

    def on_erasures(self, records: Any) -> None:
        """Forget what erased users liked; only asked for where likes are kept."""
        assert self.activity is not None
        for record in records:
            if not record.value:
                continue
            try:
                erasure = _decode_erasure(record.value)
                self.activity.forget(bytes.fromhex(erasure.mark), erasure.offset)
            except (BadRecord, ValueError):
                continue


def _change_of(record: Any) -> Change | None:
    """Return what a record changes; None for one that names nothing and says nothing."""
    if record.value:
        video = _decode_video(record.value)
        if record.key != video.video_id.encode():
            raise BadRecord("key-mismatch", "the record's key is not the video_id")
        return Change(video.video_id, video, record.offset, record.timestamp)
    if not record.key:
        raise BadRecord("empty", "the value is empty")
    return Change(record.key.decode("utf-8", "replace"), None, record.offset, record.timestamp)
