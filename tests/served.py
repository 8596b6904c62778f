"""A worker without Kafka for tests of the API: the real core behind a publisher that applies events at once."""

from __future__ import annotations

from types import SimpleNamespace

from streams.clock import Clock
from streams.codecs import Decoder, encode
from streams.core.activity import Activity
from streams.core.events import Event
from streams.core.graph import TagPairs
from streams.core.lifts import LiftConfig, Social
from streams.core.pool import FreshPool
from streams.core.ranking import Policy
from streams.core.state import StateShape
from streams.core.step import Partition, StepConfig
from streams.http.board import Board
from streams.http.directory import Directory, partition_of
from streams.http.service import Service
from streams.publisher import PublishError
from streams.topics import Topics
from tests.fakes import FakeScorer, video

_event = Decoder(Event)


class Owned:
    """A partition that holds everything in memory."""

    def __init__(self, core):
        self.core = core

    def is_erased(self, user_id):
        return user_id == "gone"

    def load_users(self, users):
        return 0, 0


class FakeWorker:
    """Applies what the API publishes and puts the slates on the board.

    Attributes:
      deaf: publishing fails; mute: no slate comes.
    """

    def __init__(self, settings, videos=12, partitions=None, scorer=None):
        self.settings, self.name, self.topics, self.clock = settings, "w1", Topics(settings), Clock()
        self.config = StepConfig(
            policy=Policy(size=settings.slate_size, exploration=0.2), shape=StateShape(8, 5, 50),
            arms={"popular": "popular"},
        )  # fmt: skip
        self.pool = FreshPool(64, 3_600_000, 3_600_000)
        self.scorer = scorer or FakeScorer()
        self.pool.add([video(number, self.clock.now_ms() - 1000 * number, author=number) for number in range(videos)])
        self.models = SimpleNamespace(
            online=self.scorer, scorer=lambda arm: self.scorer, scorer_of=lambda user, arm: self.scorer
        )
        self.social, self.tags = Social(LiftConfig(), self.pool, Activity(8)), TagPairs()
        numbers = range(settings.partitions) if partitions is None else partitions
        self.owned = {number: Owned(Partition(number, self.config, self.pool)) for number in numbers}
        self.board, self.directory, self.ready = Board(), Directory(), True
        self.publisher, self.deaf, self.mute = self, False, False
        self.published = []

    async def publish(self, topic, partition, records):
        if self.deaf:
            raise PublishError("not acknowledged")
        events = [_event(record.value) for record in records]
        assert all(partition_of(event.user_id, self.settings.partitions) == partition for event in events)
        self.published += events
        if self.mute or partition not in self.owned:
            return 0
        core = self.owned[partition].core
        offset = len(self.published)
        ops = core.plan([(offset + place, self.clock.now_ms(), event) for place, event in enumerate(events)])
        slates = core.apply(ops, self.models.scorer).slates
        self.board.published(
            partition,
            [(one.user_id.encode(), encode(one)) for one in slates],
            lambda ids: [one for one in slates if one.event_id in ids],
        )
        return offset


class FakeVersions:
    """Versions 0 to 2, of which 2 serves."""

    def __init__(self):
        self.serving = 2

    def summary(self):
        versions = [{"version": number, "parent": max(0, number - 1)} for number in range(3)]
        common = {"name": "default", "epoch": 3, "named": 2, "reason": "", "frozen": None}
        return {"serving": self.serving, "versions": versions} | common

    def choose(self, version, reason):
        from streams.config import ConfigError

        if version is not None and version > 2:
            raise ConfigError(f"there is no version {version}; versions that can serve: 0, 1, 2")
        was, self.serving = self.serving, self.serving - 1 if version is None else version
        return {"version": self.serving, "epoch": 4, "was": was, "changed": was != self.serving}


def service(worker):
    return Service(worker, FakeVersions())
