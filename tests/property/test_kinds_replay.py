"""States and slates after a restart are those from before it, whatever was sold, ended or heard of in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.eligibility import Ages, Change
from streams.core.events import EventType, Kind, Video
from streams.core.pool import FreshPool
from streams.core.quotas import Quotas
from streams.core.step import Partition
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG

POLICY = replace(CONFIG.policy, quotas=Quotas((0, 1, 1), (4, 2, 2)))
KINDS = [Kind.VIDEO, Kind.PRODUCT, Kind.LIVE]
ACTS = [EventType.OPEN, EventType.WATCH, EventType.PURCHASE, EventType.LIVE_ENTER, EventType.HIDE, EventType.IMPRESSION]


@st.composite
def stories(draw):
    """Batches of events, and what became of items before each: (changes, events)."""
    story, now, offset, told = [], 1_000, 0, 0
    for _ in range(draw(st.integers(1, 6))):
        changes = []
        for number, ended, gone in draw(
            st.lists(st.tuples(st.integers(0, 14), st.booleans(), st.booleans()), max_size=12)
        ):
            kind = KINDS[number % 3]
            item = Video(
                video_id=f"v{number}", author_id=f"a{number % 5}", published_ms=900, kind=kind, stock=0 if ended else 3,
                ended=ended, starts_ms=now + 20 if number % 2 else None,
            )  # fmt: skip
            changes.append(Change(item.video_id, None if gone and ended else item, told, now))
            told += 1
        events = []
        for user, act, number, wait in draw(
            st.lists(
                st.tuples(st.integers(0, 3), st.sampled_from(ACTS), st.integers(0, 14), st.integers(0, 40)), min_size=1,
                max_size=10,
            )
        ):  # fmt: skip
            now += wait
            events.append((offset, now, event(f"u{user}", act, number, now, event_id=f"e{offset}", watch_ms=900)))
            offset += 1
        story.append((changes, told, events))
    return story


class Worker:
    def __init__(self, by_key):
        self.pool, self.scorer = FreshPool(4096 if by_key else 64, Ages(10**6, 10**6, 60), 1000), FakeScorer()
        self.core = Partition(0, replace(CONFIG, policy=POLICY), self.pool)
        self.store, self.slates = {}, {}

    def take(self, changes):
        given = self.pool.take(changes)
        self.core.states.place(list(given), list(given.values()))

    def run(self, events):
        effects = self.core.apply(self.core.plan(events), lambda arm: self.scorer)
        self.store |= self.core.states.pack(list(effects.touched))
        self.slates |= {
            slate.slate_id: (slate.video_ids, slate.explored, slate.candidates, slate.youngest_ms, slate.oldest_ms)
            for slate in effects.slates
        }


@pytest.mark.parametrize("by_key", [False, True])
@settings(deadline=None, max_examples=80)
@given(story=stories())
def test_a_restart_changes_nothing(by_key, story):
    first, again = Worker(by_key), Worker(by_key)
    for changes, _, events in story:
        first.take(changes)
        first.run(events)
    again.take([change for changes, _, _ in story for change in changes])
    for _, known, events in story:
        with again.pool.as_of(known):
            again.run(events)
    assert first.slates == again.slates
    assert first.store == again.store
    kinds = {f"v{number}": KINDS[number % 3] for number in range(15)}
    for video_ids, *_ in first.slates.values():
        for kind, most in zip(KINDS, POLICY.quotas.most, strict=True):
            assert sum(kinds[one] is kind for one in video_ids) <= most
