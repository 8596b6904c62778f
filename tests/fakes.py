"""Small stand-ins for unit tests."""

from __future__ import annotations

import numpy as np

from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Event, EventType, Source, Video
from streams.core.hashing import key64
from streams.core.tiles import padded, product


class FakeScorer:
    """A linear scorer with the shape of the real one, deterministic by seed."""

    def __init__(self, version: int = 0, hidden: int = 8, embedding: int = 4, trained_through: int = 0) -> None:
        rng = np.random.default_rng(version)
        self.version, self.trained_through = version, trained_through
        self.hidden_size, self.embedding_size = hidden, embedding
        self._w = rng.normal(size=(embedding + BEHAVIOUR_SIZE + hidden, hidden)).astype(np.float32) * 0.3

    def encode(self, videos, contents=()):
        vectors = np.stack([self._vector(video) for video in videos]).astype(np.float32)
        for row, one in zip(vectors, contents, strict=False):
            if one is not None:
                row += np.float32(len(one.text) + one.videos_offset) / 100
        return vectors, np.concatenate([vectors, np.ones((len(videos), 1), np.float32)], axis=1)

    def _vector(self, video):
        return np.random.default_rng(abs(key64(video.video_id))).normal(size=self.embedding_size)

    def step(self, hidden, vectors, behaviour):
        x = np.concatenate([vectors, behaviour, hidden], axis=1)
        return np.tanh(product(padded(x), self._w.T))[: len(x)]

    def first(self, profiles):
        out = np.zeros((len(profiles), self.hidden_size), np.float32)
        for row, keys in enumerate(profiles):
            for key in keys:
                out[row] += np.random.default_rng([self.version, abs(key)]).normal(size=self.hidden_size).astype("f4")
        return np.tanh(out)

    def queries(self, hidden):
        return np.concatenate([hidden[:, : self.embedding_size], np.zeros((len(hidden), 1), np.float32)], axis=1)


def video(number: int, published_ms: int = 0, author: int | None = None) -> Video:
    return Video(
        video_id=f"v{number}",
        author_id=f"a{number if author is None else author}",
        published_ms=published_ms,
        duration_ms=10_000,
        tags=("t",),
    )


def event(user="u", kind=EventType.WATCH, number=0, at=1_000, **fields) -> Event:
    defaults = {"source": Source.ORGANIC} if "slate_id" not in fields else {}
    video_id = fields.pop("video_id", None if kind is EventType.OPEN else f"v{number}")
    if kind is EventType.PROFILE:
        fields.setdefault("profile", (f"f={number}",))
    event_id = fields.pop("event_id", f"{user}-{kind.value}-{number}-{at}")
    return Event(event_id=event_id, user_id=user, type=kind, event_time_ms=at, video_id=video_id, **(defaults | fields))
