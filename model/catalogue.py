"""Videos as the trainer knows them: their features and content vectors in columns, by a dense index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.features import VIDEO, features
from model.modalities import MODALITIES, WIDTH, unpacked
from model.standard import Moments
from streams.core.content import VideoContent
from streams.core.events import Video
from streams.core.hashing import key64


class Catalogue:
    """Columns [V] of videos; one that feedback names before it is published has an index without features.

    Attributes:
      features: `model.features.VIDEO` [V]; only the key is set until the video itself has been read.
      known: bool [V]; whether it has been read. Until then its vector is zeros, as in the stream.
      halves: float16 [V, WIDTH], content vectors, zeros where there are none; present: bool [V, 3], which there are.
      moments: of the numbers of all videos that were ever read, each counted once.

    Args:
      read: titles and tags are read (`model.title`).
    """

    def __init__(self, read: bool = False) -> None:
        self._read = read
        self._index: dict[int, int] = {}
        self.features: NDArray[Any] = np.zeros(0, VIDEO)
        self.known = np.zeros(0, np.bool_)
        self.halves = np.zeros((0, WIDTH), np.float16)
        self.present = np.zeros((0, len(MODALITIES)), np.bool_)
        self.moments = Moments.empty()

    def __len__(self) -> int:
        return len(self._index)

    def index(self, video_id: str) -> int:
        """Return the index of a video, a new one when it has none."""
        key = key64(video_id)
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = len(self._index)
            if found == len(self.known):
                self._grow()
            self.features["key"][found] = key
        return found

    def add(self, videos: Sequence[Video]) -> None:
        """Take in published or changed videos."""
        where = np.array([self.index(video.video_id) for video in videos], np.int64)
        found = features(videos, self._read)
        _, first = np.unique(where, return_index=True)
        first = np.sort(first)
        self.moments.add(found["numbers"][first[~self.known[where[first]]]])  # a changed one is no new one
        self.features[where] = found
        self.known[where] = True

    def add_contents(self, contents: Sequence[VideoContent]) -> None:
        """Take in what is known of videos' media; the last one of a video holds."""
        newest = {one.video_id: one for one in contents}
        where = [self.index(video_id) for video_id in newest]
        if where:
            self.halves[where], self.present[where] = unpacked(list(newest.values()), len(where))

    def keep(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Drop all videos but those `kept` [len]; return the new index of each old one, 0 for those dropped."""
        old = np.flatnonzero(kept)
        moved = np.zeros(len(self), np.int64)
        moved[old] = np.arange(len(old))
        self.features, self.known = self.features[old], self.known[old]
        self.halves, self.present = self.halves[old], self.present[old]
        self._index = {key: at for at, key in enumerate(self.features["key"].tolist())}
        return moved

    def _grow(self) -> None:
        added = max(1024, len(self.known))
        self.features = np.concatenate([self.features, np.zeros(added, VIDEO)])
        self.known = np.concatenate([self.known, np.zeros(added, np.bool_)])
        self.halves = np.concatenate([self.halves, np.zeros((added, WIDTH), np.float16)])
        self.present = np.concatenate([self.present, np.zeros((added, len(MODALITIES)), np.bool_)])
