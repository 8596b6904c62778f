"""One version of the model in its serving form: NumPy on one thread, no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model import heads
from model.config import ModelConfig
from model.features import Categories, rows_of, video_keys
from model.gru import gru_step, in_tiles
from model.weights import Weights
from streams.core.events import Video
from streams.core.ports import Floats


class NumpyScorer:
    """Implements `streams.core.ports.Scorer`; a row's result does not depend on the rows beside it.

    Args:
      weights: checked (`model.weights.check`); not copied.
    """

    def __init__(self, weights: Weights, config: ModelConfig, version: int, trained_through: int) -> None:
        self.version, self.trained_through = version, trained_through
        self.hidden_size, self.embedding_size = config.hidden_size, config.embedding_size
        self.query_size = config.embedding_size + 2 if config.head == "interaction" else 2
        self._weights = weights

    def encode(self, videos: Sequence[Video]) -> tuple[Floats, Floats]:
        """Return vectors [N, E], `tanh(W_video content + residual)`, and keys [N, D] of videos."""
        residual = self._rows("video", video_keys(videos))
        vectors = in_tiles(self._vectors, self.embedding_size, self._content(videos), residual)
        keys = in_tiles(lambda v, b: heads.keys(v, b, self._weights), self.query_size, vectors, residual[:, -1:])
        return vectors, keys

    def step(self, hidden: Floats, vectors: Floats, behaviour: Floats) -> Floats:
        """Advance hidden [B, H] by one event each: video vectors [B, E] and behaviour [B, F]; returns [B, H]."""
        inputs = np.concatenate([vectors, behaviour], axis=1, dtype=np.float32)
        kernel, recurrent, bias = (self._dense(f"gru.{name}") for name in ("kernel", "recurrent", "bias"))
        return in_tiles(lambda h, x: gru_step(h, x, kernel, recurrent, bias), self.hidden_size, hidden, inputs)

    def users(self, hidden: Floats) -> Floats:
        """Return user vectors [B, E] of hidden states [B, H]: `tanh(W_user hidden)`."""
        return in_tiles(self._users, self.embedding_size, hidden)

    def queries(self, hidden: Floats) -> Floats:
        """Return queries [B, D] of hidden states [B, H]."""
        return in_tiles(lambda h: heads.queries(self._users(h), self._weights), self.query_size, hidden)

    def _users(self, hidden: Floats) -> Floats:
        users: Floats = np.tanh(hidden @ self._dense("user.kernel") + self._dense("user.bias"))
        return users

    def _vectors(self, content: Floats, residual: Floats) -> Floats:
        raw = content @ self._dense("video.kernel") + self._dense("video.bias") + residual[:, : self.embedding_size]
        vectors: Floats = np.tanh(raw)
        return vectors

    def _content(self, videos: Sequence[Video]) -> Floats:
        """Return content [N, C] of videos."""
        known = Categories(videos)
        tags = sum(self._rows("tag", known.tags[:, place]) for place in range(known.tags.shape[1]))
        parts = [
            self._rows("author", known.author),
            np.asarray(tags, np.float32) / known.tag_total,
            self._rows("music", known.music),
            known.numbers,
        ]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _rows(self, table: str, wanted: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
        keys, rows = self._weights[f"table.{table}.keys"], self._weights[f"table.{table}.rows"]
        return rows_of(keys.astype(np.int64, copy=False), rows.astype(np.float32, copy=False), wanted)

    def _dense(self, name: str) -> Floats:
        return self._weights[name].astype(np.float32, copy=False)
