"""What the core asks of the outside, as protocols: the model that scores, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams.core.events import Video

Floats = NDArray[np.float32]


class Scorer(Protocol):
    """One version of the model in its serving form. Axes: B users, N videos, H hidden, E embedding, D query.

    `queries(hidden) @ keys.T` are the logits of the score, for every head.
    """

    version: int
    trained_through: int  # feedback records that this version has learned from
    hidden_size: int
    embedding_size: int

    def encode(self, videos: Sequence[Video]) -> tuple[Floats, Floats]:
        """Return vectors [N, E] and keys [N, D] of the videos, in order."""
        ...

    def step(self, hidden: Floats, vectors: Floats, behaviour: Floats) -> Floats:
        """Advance hidden [B, H] by one event each: video vectors [B, E] and behaviour [B, F]; returns [B, H]."""
        ...

    def queries(self, hidden: Floats) -> Floats:
        """Return queries [B, D] of hidden states [B, H]."""
        ...
