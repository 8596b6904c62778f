"""A log replayed through Kafka and a real worker gives targets the ranks that the evaluation gives them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.config import model_config
from model.datasets import kuairand
from model.evaluate import prequential, seen_before
from model.inputs import exposures
from model.metrics import MISS
from model.registry import initial_version
from streams.codecs import Decoder
from streams.configured import make_pool, step_config
from streams.core.events import Event, EventType, Slate, Video
from streams.core.step import Partition
from streams.topics import Topics
from tests.running import publish, read, running, worker_spec
from tests.unit.model.evaluation_world import BEGINS_MS, VIDEOS, write_kuairand

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def event_of(number, exposure, duration_ms):
    """The event that an exposure of the log is, in both ways through the system."""
    return Event(
        event_id=f"e{number}",
        user_id=f"u{exposure.user}",
        type=EventType.WATCH if exposure.positive else EventType.SKIP,
        event_time_ms=exposure.time_ms,
        video_id=f"v{exposure.item}",
        watch_ms=int(exposure.ratio * duration_ms),
    )


class Streamed:
    """The stream's own core as the evaluation sees it: states by `Partition`, scores by the version in service."""

    names = ("stream",)

    def __init__(self, settings, videos, durations):
        self.scorer = initial_version(settings.model_name, model_config(settings)).scorer()
        self.pool = make_pool(settings)
        self.pool.add(videos)
        self.core = Partition(0, step_config(settings), self.pool)
        self.durations, self.count = durations, 0

    def prepare(self, users):
        pass

    def scores(self, request):
        states = self.core.states
        row = states.row(f"u{request.user}")
        keys = self.pool.encoded(self.scorer).keys[: self.pool.size]
        hidden = states.table["hidden"][row][None]
        return {"stream": (self.scorer.queries(hidden) @ keys.T)[0].astype(np.float32)}

    def predict(self, event):
        return {}

    def observe(self, event):
        made = event_of(self.count, event, self.durations[event.item])
        self.core.apply(self.core.plan([(self.count, event.time_ms, made)]), lambda arm: self.scorer)
        self.count += 1


def test_a_replay_through_kafka_ranks_as_the_evaluation_does(broker, make_settings, tmp_path):
    settings = make_settings(
        partitions=1, slate_size=VIDEOS, slate_minimum=VIDEOS, author_cap=VIDEOS, exploration=0.0, hidden_size=8,
        embedding_size=4, fresh_hours=1e6,
    )  # fmt: skip
    warm, features, stream = write_kuairand(tmp_path, 500)
    data = kuairand(warm, features, [stream])
    data = replace(data, warm=data.warm.take(slice(0, 0)))  # whoever is ranked has met the stream alone
    log, content = data.streams[0][1], data.content
    videos = [
        Video(
            video_id=f"v{item}", author_id=content.authors[item], published_ms=BEGINS_MS - 1000 + item,
            duration_ms=content.duration_ms[item], tags=content.tags[item], music_id=content.music[item],
        )
        for item in range(data.catalogue)
    ]  # fmt: skip
    model = Streamed(settings, videos, content.duration_ms)
    found = prequential(model, log, seen_before(data))
    events = [event_of(number, one, content.duration_ms[one.item]) for number, one in enumerate(exposures(log))]
    with running(settings, worker_spec(settings)):
        publish(settings, videos=videos)
        topic = Topics(settings)
        publish(settings, events=events[:1])
        read(settings, topic.recommendations, lambda records: len(records) >= 1)
        publish(settings, events=events[1:])
        records = read(settings, topic.recommendations, lambda records: len(records) >= len(events))
    slates = {slate.event_id: slate for slate in map(Decoder(Slate), (record.value for record in records))}
    last, ranks = {}, []
    for number, one in enumerate(events):
        if log.target[number]:
            slate = slates.get(last.get(one.user_id))
            known = slate is not None and one.video_id in slate.video_ids
            ranks.append(list(slate.video_ids).index(one.video_id) + 1 if known else MISS if slate else None)
        last[one.user_id] = one.event_id
    pairs = [(got, wanted) for got, wanted in zip(ranks, found.ranks["stream"].tolist(), strict=True) if got]
    assert len(pairs) > 100
    assert len({got for got, _ in pairs}) > 20
    assert [got for got, _ in pairs] == [wanted for _, wanted in pairs]
