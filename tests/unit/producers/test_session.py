from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from producers import session as module
from producers.session import FIRST_EVENTS, Session, Stalled
from producers.tally import PoolSize, Tally
from streams.core.events import Feedback, Slate
from streams.topics import Topics
from tests.fakes import event, video


class World:
    """A broker and a worker in one: applies what is sent, choosing from the videos that it has read so far."""

    def __init__(self, settings, tally, reads_videos_after=0, alive=True, workers=1):
        self.topics, self.tally, self.alive = Topics(settings), tally, alive
        self.workers, self.committed, self.ends = None, {}, {}
        self.sent, self.videos, self.patience = [], 0, 3
        self._waiting, self._members, self._blind_polls = [], workers, reads_videos_after

    def send(self, topic, key, record, timestamp_ms=None):
        if topic == self.topics.videos:
            self.videos += 1
            return
        self.sent.append((record.event_id, timestamp_ms))
        self._waiting.append(record)
        self.ends.setdefault(topic, {})[0] = len(self.sent)

    def flush(self):
        pass

    def ask(self):
        self.workers = self._members

    def rest(self):
        self.patience = 3

    @property
    def stalled(self):
        self.patience -= 1
        return self.patience < 0

    def poll(self, timeout_s=0.0):
        self.workers = self._members
        if not self.alive:
            return
        for record in self._waiting:
            offset = self.committed.get(0, 0)
            candidates = 0 if self._blind_polls > 0 else self.videos
            self.tally.take_slate(_slate(record, offset, candidates))
            self.tally.take_feedback(_feedback(record, offset), 0)
            self.committed[0] = offset + 1
        self._blind_polls -= bool(self._waiting)
        self._waiting = []
        self.tally.commit(self.committed)

    def read_to_end(self):
        self.poll()


def _slate(record, offset, candidates):
    return Slate(
        slate_id=f"0-{offset}", user_id=record.user_id, event_id=record.event_id, event_time_ms=1, made_ms=1,
        state_offset=offset, model_version=0, trained_through=0, youngest_ms=0, oldest_ms=0, candidates=candidates,
        video_ids=(), scores=(),
    )  # fmt: skip


def _feedback(record, offset):
    return Feedback(
        impression_id=record.event_id, user_id=record.user_id, video_id="v", revision=0, offset=offset,
        event_time_ms=1, impression_ms=1,
    )  # fmt: skip


@dataclass
class Quiet:
    shown: list = field(default_factory=list)

    def say(self, text):
        pass

    def show(self, done, total):
        self.shown.append((done, total))


@pytest.fixture
def play(make_settings, monkeypatch):
    monkeypatch.setattr(module, "SETTLE_S", 0.01)
    monkeypatch.setattr(module, "FIRST_EVENTS_S", 0.5)
    monkeypatch.setattr(module, "JOIN_S", 0.05)
    settings = make_settings()
    videos = [video(number) for number in range(9)]

    def run(count=500, speed=None, coming=0, spacing_ms=10, **worker):
        tally = Tally("r", PoolSize(videos, fresh_ms=10**6, capacity=100))
        world, view = World(settings, tally, **worker), Quiet()
        session = Session(settings, world, world, tally, view, {}, count)
        events = (event("u", at=number * spacing_ms, event_id=f"r-{number}") for number in range(count))
        if session.send_videos(videos, coming):
            session.send_first(events)
        session.send_events(events, speed)
        session.finish()
        return world, tally, view

    return run


def test_every_event_is_sent_once_in_order_with_its_own_time(play):
    world, tally, view = play()
    assert world.sent == [(f"r-{number}", number * 10) for number in range(500)]
    assert (len(tally.confirmed), tally.short_slates) == (500, 0)
    assert view.shown[-1] == (500, 500)


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_rest_waits_until_slates_are_chosen_from_every_video(play, rounds):
    world, tally, _ = play(reads_videos_after=rounds)
    assert tally.short_slates == rounds * FIRST_EVENTS
    assert len(tally.confirmed) == len(world.sent) == 500


def test_a_log_shorter_than_the_first_events_ends(play):
    assert len(play(count=5)[1].confirmed) == 5
    assert len(play(count=5, reads_videos_after=9)[1].confirmed) == 5


def test_without_a_worker_nothing_is_held_back_and_patience_ends(play):
    with pytest.raises(Stalled):
        play(workers=0, alive=False)


def test_workers_that_do_not_come_are_not_waited_for_forever(play):
    assert len(play(workers=1, coming=2)[1].confirmed) == 500


def test_pace_is_a_multiple_of_the_logs_own(play):
    from streams.clock import Clock

    clock = Clock()
    started = clock.monotonic()
    play(count=FIRST_EVENTS + 20, speed=10.0, spacing_ms=100)
    assert 0.18 < clock.monotonic() - started < 2.0  # 19 gaps of 100 ms, ten times as fast
