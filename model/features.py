"""What is known of a video before anybody watched it, as numbers: the content input of the video tower."""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p

import numpy as np
from numpy.typing import NDArray

from streams.core.events import Kind, Video
from streams.core.hashing import key64
from streams.core.ports import Floats

Keys = NDArray[np.int64]

MAX_TAGS = 8  # of a video that count; those beyond count as rows of zeros in the mean
_KINDS = tuple(Kind)
NUMBERS = 1 + len(_KINDS)


def numbers(video: Video) -> tuple[float, ...]:
    """Return [NUMBERS]: log1p of the duration in seconds over 5, and the kind one-hot."""
    return (log1p(video.duration_ms / 1000.0) / 5.0, *(float(video.kind is kind) for kind in _KINDS))


def lookup(table: Keys, keys: Keys) -> NDArray[np.int64]:
    """Return rows of `keys` [n] in a table's ascending keys [V], -1 where there is none."""
    if not len(table):
        return np.full(len(keys), -1, np.int64)
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where(table[place] == keys, place, -1)


def rows_of(keys: Keys, rows: Floats, wanted: Keys) -> Floats:
    """Return rows [n, W] of a table for the keys `wanted` [n]; zeros where it has none."""
    place = lookup(keys, wanted)
    if not len(rows):
        return np.zeros((len(wanted), rows.shape[1]), np.float32)
    return np.where((place >= 0)[:, None], rows[place], np.float32(0.0))


def video_keys(videos: Sequence[Video]) -> Keys:
    """Return keys [N] of videos."""
    return np.array([key64(video.video_id) for video in videos], np.int64)


class Categories:
    """Keys of the categories of N videos.

    Attributes:
      author, music: int64 [N]; 0 where a video has none.
      tags: int64 [N, MAX_TAGS]; 0 beyond a video's tags.
      tag_total: float32 [N, 1]; tags of a video, at least 1.
      numbers: float32 [N, NUMBERS].
    """

    def __init__(self, videos: Sequence[Video]) -> None:
        self.author = np.array([key64(video.author_id) for video in videos], np.int64)
        self.music = np.array([key64(video.music_id) if video.music_id else 0 for video in videos], np.int64)
        self.tags = np.zeros((len(videos), MAX_TAGS), np.int64)
        for row, video in enumerate(videos):
            tags = [key64(tag) for tag in video.tags[:MAX_TAGS]]
            self.tags[row, : len(tags)] = tags
        total = [[max(1, len(video.tags))] for video in videos]
        self.tag_total = np.array(total, np.float32).reshape(-1, 1)
        self.numbers = np.array([numbers(video) for video in videos], np.float32).reshape(-1, NUMBERS)
