"""What the core asks of the outside, as protocols: the model that scores, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams.core.content import VideoContent
from streams.core.events import Video
from streams.core.hashing import bucket

Floats = NDArray[np.float32]

Known = Sequence[VideoContent | None]


def trial_salt(version: int) -> str:
    """Return the salt of the buckets that say who gets a version on trial: other users for each version."""
    return f"trial-{version}"


class Scorer(Protocol):
    """One version of the model in its serving form. Axes: B users, N videos, H hidden, E embedding, D query.

    `queries(hidden) @ keys.T` are the logits of the score, for every head.
    """

    version: int
    trained_through: int  # feedback records that this version has learned from
    hidden_size: int
    embedding_size: int

    def encode(self, videos: Sequence[Video], contents: Known = ()) -> tuple[Floats, Floats]:
        """Return vectors [N, E] and keys [N, D] of the videos, in order.

        Args:
          contents: what is known of each video's media; empty where nothing is of any.
        """
        ...

    def step(self, hidden: Floats, vectors: Floats, behaviour: Floats) -> Floats:
        """Advance hidden [B, H] by one event each: video vectors [B, E] and behaviour [B, F]; returns [B, H]."""
        ...

    def first(self, profiles: Sequence[Sequence[int]]) -> Floats:
        """Return the hidden states [B, H] that users with these profile keys begin with; zeros where none is known."""
        ...

    def queries(self, hidden: Floats) -> Floats:
        """Return queries [B, D] of hidden states [B, H]."""
        ...


class Index(Protocol):
    """Keys by slot, and about the best of them for a query. What one finds does not depend on those beside it."""

    def put(self, slots: NDArray[np.int64], keys: Floats) -> None:
        """Add keys [n, D] of distinct slots [n], or replace them."""
        ...

    def drop(self, slots: NDArray[np.int64]) -> None:
        """Take out distinct slots [n]; those that are not there do not matter."""
        ...

    def search(self, queries: Floats, wanted: int) -> NDArray[np.int64]:
        """Return slots [B, wanted] whose products with queries [B, D] are about the largest, in any order.

        Where fewer are found, -1 fills up.
        """
        ...


MakeIndex = Callable[[Floats, NDArray[np.int64], Floats], Index]  # queries to expect [Q, D]; slots [n], keys [n, D]


@dataclass(frozen=True)
class Trial:
    """A version that serves a share of the users, by their bucket, in the arms that follow the model."""

    scorer: Scorer
    share: float

    def chosen(self, users: Sequence[str]) -> NDArray[np.bool_]:
        """Return which users [B] get it."""
        salt = trial_salt(self.scorer.version)
        return np.fromiter((bucket(user, salt) < self.share for user in users), np.bool_, len(users))
