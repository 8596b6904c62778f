"""A model version as the stream uses it: pure NumPy, bits independent of how events and videos are batched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig
from model.features import content, features, residuals
from model.first import first_hidden
from model.gru import dense, gru_step
from model.heads import make_head
from model.memory import expected, remember
from model.modalities import inputs, unpacked
from model.terms import terms
from model.title import has_rows
from streams.core.events import Video
from streams.core.ports import Floats, Known
from streams.core.tiles import padded


class NumpyScorer:
    """Implements `streams.core.ports.Scorer`.

    Args:
      weights: checked weights (see `model.weights.check`); read, never written.
    """

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], config: ModelConfig, version: int, trained_through: int
    ) -> None:
        self.version, self.trained_through = version, trained_through
        self.hidden_size, self.embedding_size = config.hidden_size, config.embedding_size
        self._weights = weights
        self._head = make_head(weights)
        self._units, self._nobody = config.recurrent_size, expected(weights)
        self._media = config.media
        kernels = [weights["video.kernel"], *([weights["media.kernel"]] if config.media else [])]
        self._kernel = np.concatenate(kernels)

    def encode(self, videos: Sequence[Video], contents: Known = ()) -> tuple[Floats, Floats]:
        """Return vectors [N, E] and keys [N, D] of the videos, in order.

        Args:
          contents: what is known of each video's media; empty where nothing is of any.
        """
        vectors, biases = self._videos(videos, contents)
        keys = self._head.keys(vectors, biases)
        return vectors[: len(videos)], keys[: len(videos)]

    def terms(self, hidden: Floats, videos: Sequence[Video], contents: Known = ()) -> dict[str, NDArray[np.float64]]:
        """Return what adds up to the logits [B, N] of hidden states [B, H] and videos, by name (`model.terms`)."""
        vectors, biases = self._videos(videos, contents)
        return terms(self._weights, self.users(hidden), vectors[: len(videos)], biases[: len(videos)])

    def _videos(self, videos: Sequence[Video], contents: Known) -> tuple[Floats, Floats]:
        weights, found = self._weights, features(videos, has_rows(self._weights))
        about = content(found, weights)
        if self._media:
            about = np.concatenate([about, inputs(*unpacked(contents, len(videos)), self._media)], axis=1)
        learned = padded(residuals(found, weights))
        raw = dense(padded(about), self._kernel, weights["video.bias"])
        return np.tanh(raw + learned[:, :-1]), learned[:, -1]

    def step(self, hidden: Floats, vectors: Floats, behaviour: Floats) -> Floats:
        """Advance hidden [B, H] by one event each: video vectors [B, E] and behaviour [B, F]; returns [B, H]."""
        weights, units = self._weights, self._units
        inputs = np.concatenate([vectors, behaviour], axis=1)
        kernels = weights["gru.kernel"], weights["gru.recurrent"], weights["gru.bias"]
        advanced = gru_step(hidden[:, :units], inputs, *kernels)
        if units == self.hidden_size:
            return advanced
        return np.concatenate([advanced, remember(hidden[:, units:], vectors, behaviour, self._nobody)], axis=1)

    def first(self, profiles: Sequence[Sequence[int]]) -> Floats:
        """Return the hidden states [B, H] that users with these profile keys begin with."""
        return first_hidden(profiles, self._weights, self.hidden_size)

    def users(self, hidden: Floats) -> Floats:
        """Return user vectors [B, E] of hidden states [B, H]."""
        return self._users(hidden)[: len(hidden)]

    def queries(self, hidden: Floats) -> Floats:
        """Return queries [B, D] of hidden states [B, H]."""
        return self._head.queries(self._users(hidden))[: len(hidden)]

    def _users(self, hidden: Floats) -> Floats:
        raw = dense(padded(hidden), self._weights["user.kernel"], self._weights["user.bias"])
        users: Floats = np.tanh(raw)
        return users
