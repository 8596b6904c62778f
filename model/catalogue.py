"""Videos as the trainer knows them: their features in columns, by a dense index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.features import MAX_TAGS, NUMBERS, numbers
from streams.core.events import Video
from streams.core.hashing import key64


class Catalogue:
    """Columns [V] of videos; a video that feedback names before it is published has an index without features.

    Attributes:
      keys: int64 [V], key64 of the id.
      known: bool [V]; False until the video itself has been read, as zeros stand for its vector in the stream too.
      author, music: int64 [V], keys; 0 where there is none.
      tags: int64 [V, MAX_TAGS], keys, 0 beyond a video's own; `tag_total` [V] counts those beyond MAX_TAGS too.
      numbers: float32 [V, NUMBERS], as `model.features.numbers`.
    """

    def __init__(self) -> None:
        self._index: dict[int, int] = {}
        self.keys = np.zeros(0, np.int64)
        self.known = np.zeros(0, np.bool_)
        self.author = np.zeros(0, np.int64)
        self.music = np.zeros(0, np.int64)
        self.tags = np.zeros((0, MAX_TAGS), np.int64)
        self.tag_total = np.zeros(0, np.int64)
        self.numbers = np.zeros((0, NUMBERS), np.float32)

    def __len__(self) -> int:
        return len(self._index)

    def index(self, video_id: str) -> int:
        """Return the index of a video, a new one when it has none."""
        key = key64(video_id)
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = len(self._index)
            if found == len(self.keys):
                self._grow()
            self.keys[found] = key
        return found

    def add(self, videos: Sequence[Video]) -> None:
        """Take in published or changed videos."""
        for video in videos:
            at = self.index(video.video_id)
            tags = [key64(tag) for tag in video.tags[:MAX_TAGS]]
            self.known[at] = True
            self.author[at] = key64(video.author_id)
            self.music[at] = key64(video.music_id) if video.music_id else 0
            self.tags[at] = 0
            self.tags[at, : len(tags)] = tags
            self.tag_total[at] = len(video.tags)
            self.numbers[at] = numbers(video)

    def _grow(self) -> None:
        added = max(1024, len(self.keys))
        for name in ("keys", "known", "author", "music", "tags", "tag_total", "numbers"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros((added, *column.shape[1:]), column.dtype)]))

