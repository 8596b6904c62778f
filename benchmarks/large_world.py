"""Videos by the million for a trained model: what it has learned of authors, tags, music and single videos, recombined.

A video's author, music and one to four tags are drawn from those that the model knows. There are twenty videos an
author; authors beyond those get a blend of two trained rows. A tenth of the videos is warm: it has the learned
residual and bias of a video that was watched.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model.weights import Weights
from streams.core.events import Video
from streams.core.hashing import key64

NOW_MS = 1_700_000_000_000
_PER_AUTHOR, _WARM, _EXPIRED = 20, 0.1, 0.1


class LargeWorld:
    """Videos that are published at about the same time, a tenth of them expired.

    Args:
      weights: trained; their tables are replaced by larger ones.
      count: videos.
      fresh_ms: a video is fresh for this long.
    """

    def __init__(self, weights: Weights, count: int, fresh_ms: int, seed: int = 1) -> None:
        self.count, self._fresh_ms = count, fresh_ms
        self._rng = rng = np.random.default_rng(seed)
        authors = max(1, count // _PER_AUTHOR)
        known = weights["table.author.rows"]
        share = rng.random((authors, 1)).astype(np.float32)
        blend = share * known[rng.integers(len(known), size=authors)]
        blend += (1 - share) * known[rng.integers(len(known), size=authors)]
        blend[: len(known)] = known[: len(blend)]
        warm = np.flatnonzero(rng.random(count) < _WARM)
        learned = weights["table.video.rows"]
        names = {"tag": len(weights["table.tag.rows"]), "music": len(weights["table.music.rows"])}
        rows = {
            "author": ([f"a{number}" for number in range(authors)], blend),
            "video": ([f"v{number}" for number in warm.tolist()], learned[rng.integers(len(learned), size=len(warm))]),
        } | {
            name: ([f"{name}{number}" for number in range(size)], weights[f"table.{name}.rows"])
            for name, size in names.items()
        }
        self.weights = dict(weights)
        for name, (ids, values) in rows.items():
            keys = np.array([key64(one) for one in ids], np.int64)
            order = np.argsort(keys)
            self.weights[f"table.{name}.keys"], self.weights[f"table.{name}.rows"] = keys[order], values[order]
        self._authors, self._tags, self._music = authors, names["tag"], names["music"]

    def videos(self, block: int = 10_000) -> Iterator[list[Video]]:
        """Yield the videos, some at a time."""
        for start in range(0, self.count, block):
            yield self._some(start, min(block, self.count - start))

    def _some(self, start: int, size: int) -> list[Video]:
        rng = self._rng
        seconds = np.clip(15.0 * np.exp(0.7 * rng.normal(size=size)), 3.0, 180.0)
        tags = rng.integers(self._tags, size=(size, 4))
        age = np.where(rng.random(size) < _EXPIRED, self._fresh_ms, 0) + rng.integers(1, self._fresh_ms // 2, size)
        return [
            Video(
                video_id=f"v{start + place}", author_id=f"a{author}", published_ms=NOW_MS - old, duration_ms=length,
                tags=tuple(f"tag{tag}" for tag in dict.fromkeys(some[:many])), music_id=f"music{piece}",
            )
            for place, (author, old, length, some, many, piece) in enumerate(zip(
                rng.integers(self._authors, size=size).tolist(), age.tolist(), (1000 * seconds).astype(int).tolist(),
                tags.tolist(), rng.integers(1, 5, size).tolist(), rng.integers(self._music, size=size).tolist(),
                strict=True,
            ))
        ]  # fmt: skip
