"""A small world with latent taste, for tests of learning: what viewers like follows from authors, tags and quality."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streams.core.behaviour import behaviour, label, watch_ratio
from streams.core.events import Event, EventType, Feedback, Kind, Video

START_MS = 1_700_000_000_000


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@dataclass
class World:
    """Viewers and videos in a latent space of 16 dimensions; `rewards[viewer, video]` is the expected reward."""

    seed: int = 0
    viewers: int = 600
    videos: int = 1000
    dimension: int = 16
    topics: int = 60
    authors: int = 200
    catalogue: list[Video] = field(init=False)
    offset: int = 0

    def __post_init__(self) -> None:
        rng = self.rng = np.random.default_rng(self.seed)
        topics = _unit(rng.normal(size=(self.topics, self.dimension)))
        topic_of = rng.integers(0, self.topics, (self.authors, 3))
        author_of = rng.integers(0, self.authors, self.videos)
        tags = np.where(
            rng.random((self.videos, 2)) < 0.15,
            rng.integers(0, self.topics, (self.videos, 2)),
            topic_of[author_of, rng.integers(0, 3, (2, self.videos))].T,
        )
        music = rng.integers(0, 80, self.videos)
        about = 0.6 * _unit(topics[topic_of].sum(axis=1))[author_of] + 0.6 * _unit(topics[tags].sum(axis=1))
        about = _unit(about + 0.45 * _unit(rng.normal(size=(self.videos, self.dimension))))
        interests = topics[rng.integers(0, self.topics, (self.viewers, 3))] * rng.random((self.viewers, 3, 1))
        taste = _unit(interests.sum(axis=1) + 0.3 * _unit(rng.normal(size=(self.viewers, self.dimension))))
        quality = 0.7 * rng.normal(size=self.authors)[author_of] + 0.7 * rng.normal(size=self.videos)
        self.durations = np.clip(15_000 * np.exp(0.7 * rng.normal(size=self.videos)), 3000, 180_000).astype(int)
        held = -0.9 + 2.5 * taste @ about.T + 0.35 * quality - 0.3 * np.log(self.durations / 15_000)
        self.rate = np.exp(-held)
        self.like = 1.0 / (1.0 + np.exp(3.5 - 4.5 * taste @ about.T - 0.6 * quality))
        self.rewards = -np.expm1(-self.rate) / self.rate + np.exp(-0.3 * self.rate) * self.like
        self.catalogue = [
            Video(
                video_id=f"v{at}",
                author_id=f"a{author_of[at]}",
                published_ms=START_MS,
                duration_ms=int(self.durations[at]),
                tags=tuple(f"t{tag}" for tag in set(tags[at].tolist())),
                music_id=f"m{music[at]}",
            )
            for at in range(self.videos)
        ]
        self.last_ms = np.zeros(self.viewers, np.int64)

    def watch(self, viewer: int, video: int, at_ms: int) -> Feedback:
        """Return the feedback of one exposure; its context is all that went before."""
        ratio = self.rng.exponential() / self.rate[viewer, video]
        liked = ratio >= 0.3 and self.rng.random() < self.like[viewer, video]
        duration = int(self.durations[video])
        event = Event(
            event_id=f"e{self.offset}",
            user_id=f"u{viewer}",
            type=EventType.SKIP if ratio < 0.15 else EventType.WATCH,
            event_time_ms=at_ms,
            video_id=f"v{video}",
            watch_ms=int(min(ratio, 3.0) * duration),
            actions=(EventType.LIKE,) if liked else (),
        )
        gap = at_ms - int(self.last_ms[viewer]) if self.last_ms[viewer] else 0
        self.last_ms[viewer] = at_ms
        inputs = np.array(behaviour(event, duration, Kind.VIDEO, gap), np.float16)
        seen = watch_ratio(event, duration)
        record = Feedback(
            impression_id=f"0-{self.offset}/0/v{video}",
            user_id=f"u{viewer}",
            video_id=f"v{video}",
            revision=0,
            offset=self.offset,
            event_time_ms=at_ms,
            impression_ms=at_ms,
            outcome=event.type.value,
            watch_ratio=seen,
            label=label(seen, {event.type, *event.actions}),
            behaviour=tuple(inputs.astype(float).tolist()),
            slate_id=f"0-{self.offset - 1}",
            position=0,
        )
        self.offset += 1
        return record

    def exposures(self, count: int, viewers: np.ndarray | None = None) -> list[Feedback]:
        """Return feedback of random exposures, a third of them of videos that are popular."""
        who = np.arange(self.viewers) if viewers is None else viewers
        popular = np.argsort(-self.rewards.mean(axis=0))[: self.videos // 5]
        records = []
        for at in range(count):
            video = self.rng.choice(popular) if self.rng.random() < 0.33 else self.rng.integers(self.videos)
            records.append(self.watch(int(self.rng.choice(who)), int(video), START_MS + 1000 * (self.offset + at)))
        return records

    def share(self, viewers: np.ndarray, scores: np.ndarray, k: int = 10) -> float:
        """Return how far the top `k` by `scores` [viewers, videos] get from random (0) to the oracle (1)."""
        truth = self.rewards[viewers]
        top = np.argsort(-scores, axis=1)[:, :k]
        got = np.take_along_axis(truth, top, axis=1).mean()
        best = np.sort(truth, axis=1)[:, -k:].mean()
        return float((got - truth.mean()) / (best - truth.mean()))
