"""What a run left in its topics, read once: slates, feedback, videos and versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from model.config import ModelConfig
from model.registry import Registry
from model.topic import read as read_models
from streams.codecs import BadRecord, Decoder
from streams.config import ConfigError, Settings
from streams.core.events import Feedback, Record, Slate, Video
from streams.reading import read_topic
from streams.topics import Topics

R = TypeVar("R", bound=Record)


_slate, _feedback, _video = Decoder(Slate), Decoder(Feedback), Decoder(Video)


@dataclass
class Story:
    """A run.

    Attributes:
      slates: with the time at which each was published, in ms, oldest first by partition.
      feedback: the last revision of every impression.
      registry: every version that the `models` topic holds.
      cut: whether older slates and feedback were left out.
    """

    slates: list[tuple[int, Slate]] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    videos: dict[str, Video] = field(default_factory=dict)
    registry: Registry = field(default_factory=lambda: Registry("none", ModelConfig()))
    cut: bool = False


def read_story(settings: Settings, limit: int, say: Callable[[str], None]) -> Story:
    """Read the newest `limit` slates and feedback records, all videos and all versions.

    Raises:
      ConfigError: the cluster does not answer, or there is nothing to tell of.
    """
    topics, story = Topics(settings), Story()
    count = settings.partitions
    say("reading slates")
    for record in _records(settings, topics.recommendations, count, limit, story):
        if (slate := _readable(_slate, record.value)) is not None:
            story.slates.append((record.timestamp, slate))
    if not story.slates:
        raise ConfigError(
            f"topic {topics.recommendations} at {settings.bootstrap} holds no slate: run 'freshloop demo' first"
        )
    say(f"{len(story.slates)} slates; reading feedback")
    last: dict[str, Feedback] = {}
    for record in _records(settings, topics.feedback, count, limit, story):
        one = _readable(_feedback, record.value)
        if one is None:
            continue
        if one.impression_id not in last or one.revision >= last[one.impression_id].revision:
            last[one.impression_id] = one
    story.feedback = list(last.values())
    say(f"{len(last)} impressions; reading videos and versions")
    for record in _records(settings, topics.videos, 1, 1 << 60, story):
        if record.value and (video := _readable(_video, record.value)) is not None:
            story.videos[video.video_id] = video  # withdrawn ones stay: old slates name them
    story.registry = read_models(settings).registry
    return story


def _readable(decode: Decoder[R], value: bytes) -> R | None:
    """Return a record; None for one of another schema version."""
    try:
        return decode(value)
    except BadRecord:
        return None


def _records(settings: Settings, topic: str, partitions: int, limit: int, story: Story) -> Iterator[Any]:
    """Return the newest records of a topic as of now."""

    def start(begin: int, end: int) -> int:
        at = max(begin, end - limit // partitions)
        story.cut |= at > begin
        return at

    return read_topic(settings, topic, partitions, check_crcs=False, start=start)
