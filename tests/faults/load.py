"""Events of some users with a sequence number each, as viewers would send them: slates, answers, repetitions, noise."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from streams.codecs import encode
from streams.config import Settings
from streams.core.events import TASTE, Event, EventType, Source
from streams.topics import Topics
from tests.versions import PROFILE_WORDS

_KINDS = (
    EventType.WATCH, EventType.IMPRESSION, EventType.LIKE, EventType.SKIP, EventType.OPEN, EventType.PLAY,
    EventType.PROFILE,
)  # fmt: skip
_WEIGHTS = (50, 22, 12, 6, 6, 4, 3)


class Load:
    """Produces events; answers refer to slates by the offset of the event that triggered them."""

    def __init__(self, settings: Settings, slate_prefix: str, users: int, videos: int, seed: int) -> None:
        self._settings, self._prefix, self._videos = settings, slate_prefix, videos
        self._random = random.Random(seed)
        self._sent = [0] * users
        self._slates: dict[str, tuple[int, int]] = {}  # where the user's last known slate was triggered
        self._shown: dict[str, dict] = {}
        self.count = 0
        self.only: tuple[int, int] = (0, 1)  # (r, n): only users whose number leaves r when divided by n
        self.options: dict[str, Any] = {}  # of the producer
        self.arms: tuple[str, ...] = ("",)  # suffixes of user ids in turn

    def send(self, count: int) -> None:
        """Send events and wait until the cluster has them."""
        topic = Topics(self._settings).events
        producer = KafkaProducer(
            bootstrap_servers=self._settings.bootstrap.split(","), acks="all", linger_ms=5, **self.options
        )
        with _closing(producer):
            for start in range(0, count, 500):
                sent = []
                for user, value, event in self._some(min(500, count - start)):
                    sent.append((user, event, producer.send(topic, key=user.encode(), value=value)))
                for user, event, future in sent:
                    where = future.get(60)
                    if event is not None and (event.type in TASTE or event.type is EventType.OPEN):
                        self._slates[user] = (where.partition, where.offset)
        self.count += count

    def try_send(self, count: int) -> bool:
        """Send events to a cluster that may refuse them; return whether it took all."""
        try:
            self.send(count)
        except KafkaError:
            return False
        return True

    def send_one(self, event: Event) -> tuple[int, int]:
        """Send one event; return its partition and offset."""
        producer = KafkaProducer(bootstrap_servers=self._settings.bootstrap.split(","), acks="all")
        with closing(producer):
            topic, key = Topics(self._settings).events, event.user_id.encode()
            where = producer.send(topic, key=key, value=encode(event)).get(60)
        self.count += 1
        return where.partition, where.offset

    def _some(self, count: int):
        for _ in range(count):
            rest, every = self.only
            number = self._random.randrange(rest, len(self._sent), every)
            user = f"u{number}{self.arms[number % len(self.arms)]}"
            chance = self._random.random()
            if chance < 0.004:
                yield user, b"\xc1 no event", None
                continue
            event = self._event(user, number)
            yield user, encode(event), event

    def _event(self, user: str, number: int) -> Event:
        rng = self._random
        repeated = self._sent[number] and rng.random() < 0.01  # a client that sends again what it has sent
        self._sent[number] += 0 if repeated else 1
        kind = rng.choices(_KINDS, _WEIGHTS)[0]
        fields: dict = {"source": Source.ORGANIC}
        video = f"v{rng.randrange(self._videos)}"
        if kind is EventType.IMPRESSION and user in self._slates:
            partition, offset = self._slates[user]
            fields = {"slate_id": f"{self._prefix}{partition}-{offset}", "position": rng.randrange(5)}
            self._shown[user] = fields | {"video_id": video}
        elif kind in TASTE and user in self._shown and rng.random() < 0.6:
            fields = dict(self._shown[user])
            video = fields.pop("video_id")
        if kind is EventType.WATCH:
            fields |= {"watch_ms": rng.randrange(12_000)}
        if kind is EventType.PROFILE:
            fields |= {"profile": tuple(rng.sample(PROFILE_WORDS, rng.randrange(3)))}
        elif kind is not EventType.OPEN:
            fields |= {"video_id": video}
        at = 1_000 * self._sent[number]
        return Event(event_id=f"{user}-{self._sent[number]}", user_id=user, type=kind, event_time_ms=at, **fields)


@contextmanager
def _closing(producer: KafkaProducer) -> Iterator[None]:
    """Close a producer; one whose cluster is gone is not waited for."""
    try:
        yield
    except BaseException:
        producer.close(timeout=1)
        raise
    producer.close()
