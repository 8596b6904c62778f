"""Which videos lack vectors of the present content model: new ones first, then what an earlier run or model left."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from streams.core.content import VideoContent
from streams.core.events import Video

CACHED = 50_000  # media whose vectors are remembered by their hash; half a kilobyte each


@dataclass(frozen=True)
class Task:
    """One video whose vectors are to be made.

    Attributes:
      record: of the `videos` topic; its offset goes into the vectors.
      known: a dead letter says already that the media of this very record failed.
      attempt: counts from 0.
    """

    record: Any
    video: Video
    known: bool = False
    attempt: int = 0


class Todo:
    """What is to be done, in order. Feed it both topics whole, then ask.

    Args:
      version: of the content model.

    Attributes:
      cache: by the hash of media, vectors of the present version.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._new: OrderedDict[str, Task] = OrderedDict()
        self._backlog: OrderedDict[str, Task] = OrderedDict()
        self._later: list[tuple[float, int, Task]] = []
        self._count = 0
        self._known: dict[str, VideoContent] = {}
        self._live: dict[str, int] = {}  # offset of the newest record
        self._started = False
        self.cache: OrderedDict[str, VideoContent] = OrderedDict()

    @property
    def waiting(self) -> dict[str, int]:
        """Videos that wait, by why."""
        return {"new": len(self._new), "backlog": len(self._backlog), "later": len(self._later)}

    def publish(self, record: Any, video: Video) -> None:
        """Take in a published video."""
        self._live[video.video_id] = record.offset
        self._backlog.pop(video.video_id, None)
        self._new.pop(video.video_id, None)
        (self._new if self._started else self._backlog)[video.video_id] = Task(record, video)

    def withdraw(self, video_id: str) -> bool:
        """Take a video out; return whether its vectors are to go now. What went before `start` is told there."""
        self._backlog.pop(video_id, None)
        self._new.pop(video_id, None)
        return self._live.pop(video_id, None) is not None and self._started

    def note(self, video_id: str, content: VideoContent | None) -> None:
        """Take in a record of the `vectors` topic; None for an empty one."""
        if content is None:
            self._known.pop(video_id, None)
            return
        if not self._started:
            self._known[video_id] = content
        if content.version == self._version and content.media_hash and (content.frames or content.sound):
            self.cache[content.media_hash] = content
            self.cache.move_to_end(content.media_hash)
            if len(self.cache) > CACHED:
                self.cache.popitem(last=False)

    def start(self) -> list[str]:
        """All that was there has been taken in: leave what is done already; return ids whose vectors are to go."""
        self._started = True
        for video_id, task in list(self._backlog.items()):
            content = self._known.get(video_id)
            if content is None or not content.final or content.videos_offset < task.record.offset:
                continue
            if content.version == self._version:
                del self._backlog[video_id]
            elif content.reason:
                self._backlog[video_id] = Task(task.record, task.video, known=True)
        gone = [video_id for video_id in self._known if video_id not in self._live]
        self._known.clear()
        return gone

    def next(self, now: float) -> Task | None:
        """Return what to do now; None when there is nothing. `now` is in seconds of any clock that never goes back."""
        if self._new:
            return self._new.popitem(last=False)[1]
        while self._later and self._later[0][0] <= now:
            task = heapq.heappop(self._later)[2]
            if self._live.get(task.video.video_id) == task.record.offset:
                return task
        return self._backlog.popitem(last=False)[1] if self._backlog else None

    def again(self, task: Task, at: float) -> None:
        """Try once more at a time."""
        self._count += 1
        later = Task(task.record, task.video, task.known, task.attempt + 1)
        heapq.heappush(self._later, (at, self._count, later))

    def is_newest(self, task: Task) -> bool:
        """Return whether the video has not been withdrawn or published anew since."""
        return bool(self._live.get(task.video.video_id) == task.record.offset)
