"""The studio: authors, tags and music in a latent space, and the videos that follow from them.

Video n is a pure function of the seed and of n, since they are made one after the other from one generator. What
viewers respond to (topic vector, quality, duration) is known here; the published record shows it only through author,
tags, music, title and duration.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.parameters import CatalogueParameters
from producers.titles import title, words
from streams.core.events import Video

Floats = NDArray[np.floating[Any]]

_WORDS_PER_TAG = 12
_SPACE = 1024  # videos at first; columns are doubled when they are full
_VIDEO_ID = re.compile(r"s\d+v\d+")


def unit(vectors: Floats) -> Floats:
    """Return vectors [..., D] with length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def is_simulated(video_id: str) -> bool:
    """Return whether a video id is one of a simulated studio, whatever its seed."""
    return _VIDEO_ID.fullmatch(video_id) is not None


def _longer(column: NDArray[Any], space: int) -> NDArray[Any]:
    """Return a column with room for `space` videos, zeros where there are none yet."""
    return np.concatenate([column, np.zeros((space - len(column), *column.shape[1:]), column.dtype)])


class Named:
    """Things with a name, a direction in the latent space and a use that falls off by Zipf's law.

    Attributes:
      names: their ids, in order of birth.
      vectors: [N, D], of length 1.
      use: [N], how often each is used, relative to the others.
    """

    def __init__(self, dimension: int) -> None:
        self.names: list[str] = []
        self.vectors: Floats = np.zeros((0, dimension))
        self.use: Floats = np.zeros(0)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, vector: Floats, use: float) -> None:
        """Add one thing; `vector` is [D]."""
        self.names.append(name)
        self.vectors = np.concatenate([self.vectors, unit(vector)[None, :]])
        self.use = np.append(self.use, use)

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Return `count` different things (fewer where there are not so many), by their use."""
        return rng.choice(len(self), min(count, len(self)), replace=False, p=self.use / self.use.sum())


class Catalogue:
    """All videos ever made, with columns by video number; the truth behind the records.

    Attributes:
      vectors: [V, D], what a video is about, of length 1.
      quality: [V], standard normal.
      log_length: [V], logarithm of the duration over the median duration.
      duration_ms, published_ms: int64 [V].
      live: [V], published and not withdrawn; `live_count` of them.
      version: rises with every change.
    """

    def __init__(self, parameters: CatalogueParameters, dimension: int, seed: int) -> None:
        self._p, self._dimension, self._seed = parameters, dimension, seed
        self._rng = np.random.default_rng([seed, 1])
        self.count = 0
        self.live_count = 0
        self.version = 0
        self.vectors: Floats = np.zeros((_SPACE, dimension))
        self.quality: Floats = np.zeros(_SPACE)
        self.log_length: Floats = np.zeros(_SPACE)
        self.duration_ms = np.zeros(_SPACE, np.int64)
        self.published_ms = np.zeros(_SPACE, np.int64)
        self.live = np.zeros(_SPACE, np.bool_)
        self.tags, self.authors, self.music = Named(dimension), Named(dimension), Named(dimension)
        self._words: list[list[str]] = []
        self._topics: list[NDArray[np.int64]] = []
        self._author_quality: list[float] = []
        for _ in range(parameters.tags):
            self._new_tag()
        for _ in range(parameters.authors):
            self._new_author()
        for _ in range(parameters.music):
            self._new_music()

    def number(self, video_id: str) -> int:
        """Return the number of a video, -1 when it is not one of this catalogue."""
        prefix = f"s{self._seed}v"
        digits = video_id[len(prefix) :]
        if not video_id.startswith(prefix) or not digits.isdecimal():
            return -1
        return int(digits) if int(digits) < self.count else -1

    def video_id(self, number: int) -> str:
        """Return the id of a video."""
        return f"s{self._seed}v{number}"

    def open(self, count: int, now_ms: int) -> list[Video]:
        """Publish the initial catalogue, from the authors, tags and music that are there."""
        return [self._make(now_ms) for _ in range(count)]

    def publish(self, now_ms: int) -> Video:
        """Publish one more video; at times it brings a new author, a new tag or new music."""
        p, rng = self._p, self._rng
        tag = self._new_tag() if rng.random() < p.new_tag else None
        author = self._new_author(tag) if rng.random() < p.new_author else None
        if rng.random() < p.new_music:
            self._new_music()
        return self._make(now_ms, author, tag)

    def withdraw(self) -> str | None:
        """Withdraw a live video drawn uniformly; return its id, None when nothing is live."""
        live = np.flatnonzero(self.live[: self.count])
        return self.end(int(self._rng.choice(live))) if len(live) else None

    def oldest(self) -> int:
        """Return the number of the oldest live video, -1 when there is none."""
        first = int(np.argmax(self.live[: self.count])) if self.count else 0
        return first if self.live[first] else -1

    def end(self, number: int) -> str:
        """Mark a live video as withdrawn; return its id."""
        self.live[number] = False
        self.live_count -= 1
        self.version += 1
        return self.video_id(number)

    def revive(self, number: int) -> None:
        """Mark a video as live that was not."""
        self.live[number] = True
        self.live_count += 1
        self.version += 1

    def _make(self, now_ms: int, author: int | None = None, tag: int | None = None) -> Video:
        p, rng = self._p, self._rng
        who = int(self.authors.draw(rng, 1)[0]) if author is None else author
        tags = self._tags_of(who, tag)
        piece = int(self.music.draw(rng, 1)[0])
        about = (
            p.author_weight * self.authors.vectors[who]
            + p.tag_weight * unit(self.tags.vectors[tags].sum(axis=0))
            + p.music_weight * self.music.vectors[piece]
            + p.own_weight * unit(rng.normal(size=self._dimension))
        )
        share = p.author_quality
        quality = np.sqrt(share) * self._author_quality[who] + np.sqrt(1 - share) * rng.normal()
        low, high = p.duration_range_s
        seconds = min(max(p.duration_median_s * float(np.exp(p.duration_sigma * rng.normal())), low), high)
        number = self._append(unit(about), float(quality), seconds, now_ms)
        vocabulary = [word for one in tags for word in self._words[one]]
        return Video(
            video_id=self.video_id(number),
            author_id=self.authors.names[who],
            published_ms=now_ms,
            duration_ms=int(self.duration_ms[number]),
            tags=tuple(self.tags.names[one] for one in tags),
            music_id=self.music.names[piece],
            title=title(rng, vocabulary),
        )

    def _append(self, vector: Floats, quality: float, seconds: float, now_ms: int) -> int:
        number = self.count
        if number == len(self.live):
            self._grow(2 * number)
        self.vectors[number], self.quality[number] = vector, quality
        self.duration_ms[number] = round(seconds * 1000)
        self.log_length[number] = np.log(seconds / self._p.duration_median_s)
        self.published_ms[number], self.live[number] = now_ms, True
        self.count += 1
        self.live_count += 1
        self.version += 1
        return number

    def _grow(self, space: int) -> None:
        self.vectors = _longer(self.vectors, space)
        self.quality = _longer(self.quality, space)
        self.log_length = _longer(self.log_length, space)
        self.duration_ms = _longer(self.duration_ms, space)
        self.published_ms = _longer(self.published_ms, space)
        self.live = _longer(self.live, space)

    def _tags_of(self, author: int, fixed: int | None) -> list[int]:
        p, rng = self._p, self._rng
        count = int(rng.integers(p.tags_per_video[0], p.tags_per_video[1] + 1))
        tags = dict.fromkeys([fixed] if fixed is not None else [])
        for _ in range(count - len(tags)):
            if rng.random() < p.off_topic:
                tags[int(self.tags.draw(rng, 1)[0])] = None
            else:
                tags[int(rng.choice(self._topics[author]))] = None
        return list(tags)

    def _use(self, rank: int) -> float:
        """Return the use of a thing drawn somewhere in the order, so that late ones are not always rare."""
        return float((1 + self._rng.integers(rank + 1)) ** -self._p.zipf)

    def _new_tag(self) -> int:
        number, rng = len(self.tags), self._rng
        script = self._p.scripts[int(rng.integers(len(self._p.scripts)))]
        vocabulary = words(rng, script, _WORDS_PER_TAG)
        self._words.append(vocabulary)
        self.tags.add(f"{vocabulary[0]}-{number}", rng.normal(size=self._dimension), self._use(number))
        return number

    def _new_author(self, topic: int | None = None) -> int:
        number, rng = len(self.authors), self._rng
        low, high = self._p.topics_per_author
        topics = self.tags.draw(rng, int(rng.integers(low, high + 1)))
        if topic is not None:
            topics[0] = topic
        about = unit(self.tags.vectors[topics].sum(axis=0)) + 0.5 * unit(rng.normal(size=self._dimension))
        self._topics.append(topics)
        self._author_quality.append(float(rng.normal()))
        self.authors.add(f"a{number}", about, self._use(number))
        return number

    def _new_music(self) -> int:
        number, rng = len(self.music), self._rng
        about = self.tags.vectors[self.tags.draw(rng, 1)[0]] + unit(rng.normal(size=self._dimension))
        self.music.add(f"m{number}", about, self._use(number))
        return number
