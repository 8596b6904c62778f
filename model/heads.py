"""The two heads as maps from user and video vectors to queries and keys, whose product is the logit.

Both maps are affine: `queries = users @ matrix + offset`, and likewise for keys.

- `concat`, as published: `logit = head.user·u + head.video·v + head.bias`. The user's part adds the same amount to
  every video, so it decides whether a video exceeds the threshold, never the order.
- `interaction` adds `u @ head.interaction @ v` and a bias per video, which makes the order personal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.gru import dense
from streams.core.ports import Floats


@dataclass(frozen=True)
class Affine:
    """A map of rows [B, E] to rows [B, D]: matrix [E, D] and offset [D]."""

    matrix: Floats
    offset: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Return the mapped rows [B, D]."""
        return dense(rows, self.matrix, self.offset)


@dataclass(frozen=True)
class Head:
    """Queries and keys of one version, D columns each.

    Attributes:
      users, videos: maps of user and video vectors.
      bias_column: column of the keys that takes a video's own bias; -1 when the head has none.
    """

    users: Affine
    videos: Affine
    bias_column: int

    def queries(self, users: Floats) -> Floats:
        """Return queries [B, D] of user vectors [B, E]."""
        return self.users(users)

    def keys(self, videos: Floats, biases: Floats) -> Floats:
        """Return keys [N, D] of video vectors [N, E] and biases [N]."""
        keys = self.videos(videos)
        if self.bias_column >= 0:
            keys[:, self.bias_column] += biases
        return keys


def make_head(weights: Mapping[str, NDArray[Any]]) -> Head:
    """Return the head that the weights hold: `interaction` when they have that matrix, else `concat`."""
    user, video, bias = weights["head.user"], weights["head.video"], weights["head.bias"]
    crossed = weights.get("head.interaction", np.zeros((0, len(user)), np.float32))
    size, nothing = len(crossed), np.zeros(len(user), np.float32)
    itself = np.eye(len(user), dtype=np.float32)[:size]
    zeros = np.zeros(size, np.float32)
    # A product with a column of the identity is exact, so one product makes the whole of a query. Column d of a key is
    # row d of the interaction times the video vector.
    users = Affine(_columns([*itself, user, nothing]), np.concatenate([zeros, bias, [1.0]], dtype=np.float32))
    videos = Affine(_columns([*crossed, nothing, video]), np.concatenate([zeros, [1.0, 0.0]], dtype=np.float32))
    return Head(users, videos, size + 1 if size else -1)


def _columns(columns: list[Floats]) -> Floats:
    return np.ascontiguousarray(np.stack(columns, axis=1))
