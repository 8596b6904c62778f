"""Policies judged from the feedback that is kept: their names, and what of the cluster they rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from model.choices import Choices, Log, Shelf
from model.counterfactual import ByVersion, Judged, Target, by_popularity, judge, uniform
from model.registry import Version
from model.topic import read
from streams.codecs import BadRecord, Decoder
from streams.config import ConfigError, Settings
from streams.core.content import VideoContent
from streams.core.events import Video
from streams.core.ports import Scorer
from streams.reading import read_topic
from streams.topics import HOUR_MS, Topics

VERSION = "version"
T = TypeVar("T")
_decode_video = Decoder(Video)
_decode_content = Decoder(VideoContent)


def checked(name: str) -> str:
    """Return a policy's name.

    Raises:
      ConfigError: there is no such policy.
    """
    kind, colon, number = name.partition(":")
    if name in ("random", "popular", VERSION) or (kind == VERSION and colon and number.isdecimal()):
        return name
    raise ConfigError(f"there is no policy {name!r}; there are random, popular, version and version:NUMBER (--policy)")


def judged(settings: Settings, log: Log, names: Sequence[str], threshold: float) -> dict[str, dict[str, Any]]:
    """Return for each policy what a position of its slates would have earned, ready for JSON.

    All are judged by the choices that came after what the named versions learned from; the newest of these versions is
    the model of the reward.

    Raises:
      ConfigError: the cluster does not answer in time, or does not hold a version, or there are no such choices.
    """
    versions = _versions(settings, names)
    choices = log.choices(_shelf(settings))
    newest = max(versions.values(), key=lambda one: one.manifest.trained_through_ms, default=None)
    if newest is not None:
        choices = choices.after(newest.manifest.trained_through_ms)
    if not len(choices):
        later = "" if newest is None else f" after what version {newest.number} learned from"
        raise ConfigError(f"no position of arm {log.arm!r} was explored{later}, so no policy can be judged")
    serving: dict[str, Scorer] = {name: one.scorer() for name, one in versions.items()}
    reward = None if newest is None else ByVersion(newest.scorer(), choices)
    return {name: told(judge(choices, _target(settings, name, serving, choices, threshold), reward)) for name in names}


def told(one: Judged) -> dict[str, Any]:
    """Return an estimate ready for JSON."""
    found: dict[str, Any] = {"choices": one.choices, "effective": round(one.effective, 1)}
    for name in ("weight", "snips", "robust"):
        interval = getattr(one, name)
        numbers = {"value": interval.value, "low": interval.low, "high": interval.high}
        found[name] = {key: round(value, 5) if math.isfinite(value) else None for key, value in numbers.items()}
    return found


def _target(settings: Settings, name: str, serving: dict[str, Scorer], choices: Choices, threshold: float) -> Target:
    if name == "random":
        return Target(uniform, len(choices.shelf.videos))
    if name == "popular":
        return Target(by_popularity(1000 * settings.popularity_half_life_s), settings.slate_size)
    return Target(ByVersion(serving[name], choices), settings.slate_size, settings.slate_minimum, threshold)


def _versions(settings: Settings, names: Sequence[str]) -> dict[str, Version]:
    """Return the versions that are named."""
    registry = read(settings).registry
    found = {}
    for name in names:
        if not name.startswith(VERSION):
            continue
        _, _, number = name.partition(":")
        version = registry.version(int(number)) if number else registry.current() or registry.version(0)
        if version is None:
            raise ConfigError(f"there is no version {number} whose weights are kept; see 'freshloop models list'")
        found[name] = version
    return found


def _shelf(settings: Settings) -> Shelf:
    """Return the videos that were ever published and are still in the topic, with their contents."""
    topics = Topics(settings)
    videos = {one.video_id: one for one in _sound(settings, topics.videos, _decode_video)}
    contents = {one.video_id: one for one in _sound(settings, topics.vectors, _decode_content)}
    return Shelf(list(videos.values()), [contents.get(one) for one in videos], round(settings.fresh_hours * HOUR_MS))


def _sound(settings: Settings, topic: str, decode: Callable[[bytes], T]) -> Iterator[T]:
    """Yield the records of a topic of one partition; the workers refuse the others too."""
    for record in read_topic(settings, topic, 1):
        with suppress(BadRecord):
            if record.value:
                yield decode(record.value)
