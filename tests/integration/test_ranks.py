"""A log replayed through Kafka and a real worker gives targets the ranks that the evaluation gives them.

Frozen, and online in lockstep: both ways learn from their own feedback after every 256 targets, and go on with the
version that they made.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.closed_loop import make_learner
from model.config import model_config
from model.datasets import kuairand
from model.evaluate import CHUNK, prequential, seen_before
from model.inputs import exposures
from model.manifest import Evaluation, Manifest
from model.metrics import MISS
from model.publish import current_record, records
from model.registry import initial_version
from model.serving import NumpyScorer
from model.train import RoundOptions
from model.trainer_cli import quiet_tensorflow
from model.weights import to_bytes
from streams.codecs import Decoder
from streams.configured import make_pool, step_config
from streams.core.events import Event, EventType, Feedback, Slate, Video
from streams.core.step import Partition
from streams.topics import Topics
from tests.running import publish, read, running, worker_spec
from tests.unit.model.evaluation_world import BEGINS_MS, VIDEOS, write_kuairand

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

EVERYTHING = {
    "partitions": 1, "slate_size": VIDEOS, "slate_minimum": VIDEOS, "author_cap": VIDEOS, "exploration": 0.0,
    "hidden_size": 8, "embedding_size": 4, "fresh_hours": 1e6,
}  # fmt: skip


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
        self.durations, self.count, self.offset = durations, 0, 0

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


class Lockstep:
    """Makes a version of the feedback of every stretch of targets, as the trainer does."""

    def __init__(self, settings, videos):
        self.settings, self.number = settings, 0
        self.learner = make_learner(settings, RoundOptions(margin=10.0))  # none is refused
        self.learner.net.load(initial_version(settings.model_name, model_config(settings)).weights)
        self.learner.store.catalogue.add(videos)
        self.weights = []

    def learn(self, feedback):
        for record in feedback:
            assert self.learner.store.add(record)
        done = self.learner.round()
        assert done.weights is not None
        self.number += 1
        self.weights.append(done.weights)
        return NumpyScorer(done.weights, model_config(self.settings), self.number, done.through)


class Learning(Streamed):
    """The stream's own core, whose version changes after every 256 targets; before each one the feed is opened."""

    def __init__(self, settings, videos, durations):
        super().__init__(settings, videos, durations)
        self.lockstep = Lockstep(settings, videos)
        self.feedback, self.targets = [], 0

    def apply(self, event):
        """One event through the core, at the next offset."""
        plan = self.core.plan([(self.offset, event.event_time_ms, event)])
        self.feedback += [one for part in self.core.apply(plan, lambda arm: self.scorer).labelled for one in part]
        self.offset += 1

    def scores(self, request):
        self.apply(asking(self.count, request.user, request.time_ms))
        self.targets += 1
        return super().scores(request)

    def observe(self, event):
        self.apply(event_of(self.count, event, self.durations[event.item]))
        self.count += 1
        if event.target and self.targets % CHUNK == 0:
            self.scorer = self.lockstep.learn(self.feedback)
            self.feedback = []


def asking(number, user, time_ms):
    """The event behind which a target is ranked."""
    return Event(event_id=f"o{number}", user_id=f"u{user}", type=EventType.OPEN, event_time_ms=time_ms)


def small_log(folder, events):
    """The log, its content and the videos; whoever is ranked has met the stream alone."""
    warm, features, stream = write_kuairand(folder, events)
    data = kuairand(warm, features, [stream])
    data = replace(data, warm=data.warm.take(slice(0, 0)))
    content = data.content
    videos = [
        Video(
            video_id=f"v{item}", author_id=content.authors[item], published_ms=BEGINS_MS - 1000 + item,
            duration_ms=content.duration_ms[item], tags=content.tags[item], music_id=content.music[item],
        )
        for item in range(data.catalogue)
    ]  # fmt: skip
    return data, data.streams[0][1], videos


def test_a_replay_through_kafka_ranks_as_the_evaluation_does(broker, make_settings, tmp_path):
    settings = make_settings(**EVERYTHING)
    data, log, videos = small_log(tmp_path, 500)
    content = data.content
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


def version_records(settings, lockstep, scorer):
    """A version and the record that puts it into service, as the trainer sends them."""
    made = Manifest(
        name=settings.model_name, version=scorer.version, parent=scorer.version - 1, config=model_config(settings),
        trained_through=scorer.trained_through, created_ms=BEGINS_MS, evaluation=Evaluation(accepted=True),
    )  # fmt: skip
    named = current_record(settings.model_name, scorer.version, scorer.version, "lockstep")
    topic = Topics(settings).models
    pieces = [*records(made, to_bytes(lockstep.weights[-1])), named]
    return [{"topic": topic, "key": piece.key, "value": piece.value, "partition": 0} for piece in pieces]


class Replayed:
    """The same log through Kafka and a worker, a stretch at a time."""

    def __init__(self, settings, videos):
        self.settings, self.topics = settings, Topics(settings)
        self.lockstep = Lockstep(settings, videos)
        self.slates, self.probes, self.learned = {}, 0, 0

    def slates_of(self, events):
        """Send events and wait for the slates of all so far."""
        publish(self.settings, events=events)
        wanted = len(self.slates) + len(events)
        found = read(self.settings, self.topics.recommendations, lambda records: len(records) >= wanted)
        self.slates = {slate.event_id: slate for slate in map(Decoder(Slate), (record.value for record in found))}
        assert len(self.slates) == wanted

    def learn(self, outcomes):
        """Learn from the feedback of so many outcomes so far, and wait until the version serves."""
        found = read(self.settings, self.topics.feedback, lambda records: len(records) >= outcomes)
        feedback = [Decoder(Feedback)(record.value) for record in found]
        scorer = self.lockstep.learn(feedback[self.learned :])
        self.learned = len(feedback)
        publish(self.settings, raw=version_records(self.settings, self.lockstep, scorer))
        while True:
            probe = Event(event_id=f"p{self.probes}", user_id="probe", type=EventType.OPEN, event_time_ms=BEGINS_MS)
            self.probes += 1
            self.slates_of([probe])
            if self.slates[probe.event_id].model_version == scorer.version:
                return


@pytest.mark.training
@pytest.mark.parametrize("memory", [False, True])
def test_learning_in_lockstep_through_kafka_ranks_as_the_evaluation_does(broker, make_settings, tmp_path, memory):
    quiet_tensorflow(threads=1)
    settings = make_settings(**EVERYTHING, taste_memory=memory)
    data, log, videos = small_log(tmp_path, 1600)
    durations = data.content.duration_ms
    model = Learning(settings, videos, durations)
    found = prequential(model, log, seen_before(data))
    wanted = found.ranks["stream"].tolist()
    stretches = len(wanted) // CHUNK
    assert model.lockstep.number == stretches >= 3
    replayed, ranks, targets, waiting = Replayed(settings, videos), [], 0, []
    asked = []
    with running(settings, worker_spec(settings)):
        publish(settings, videos=videos)
        for number, one in enumerate(exposures(log)):
            if log.target[number]:
                waiting.append(asking(number, one.user, one.time_ms))
                asked.append((f"o{number}", f"v{one.item}", targets // CHUNK))
                targets += 1
            waiting.append(event_of(number, one, durations[one.item]))
            if (log.target[number] and targets % CHUNK == 0) or number + 1 == len(log):
                replayed.slates_of(waiting)
                waiting = []
                if log.target[number] and targets % CHUNK == 0:
                    replayed.learn(number + 1)
    for event_id, video_id, version in asked:
        slate = replayed.slates[event_id]
        assert slate.model_version == version
        ranks.append(list(slate.video_ids).index(video_id) + 1 if video_id in slate.video_ids else MISS)
    for one, other in zip(replayed.lockstep.weights, model.lockstep.weights, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
    assert ranks == wanted
    assert len(set(ranks)) > 20
    assert not np.array_equal(model.lockstep.weights[0]["gru.kernel"], model.lockstep.weights[-1]["gru.kernel"])
