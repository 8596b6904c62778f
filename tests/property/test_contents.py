"""A look back at the pool shows videos with the contents of then, and what is applied again is as it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streams.core.content import KEPT, VideoContent
from streams.core.pool import FreshPool
from streams.core.step import Partition
from tests.fakes import FakeScorer, video
from tests.property.test_batch_cuts import CONFIG, histories

SCORER = FakeScorer()
KINDS = st.sampled_from(["video", "content", "content", "withdrawn"])
CHANGES = st.lists(st.tuples(KINDS, st.integers(0, 5)), max_size=14)


@dataclass
class Feeds:
    """Both topics into a pool, up to given offsets."""

    pool: FreshPool
    videos: int = 0
    vectors: int = 0

    def take(self, kind, number):
        if kind == "content":
            one = VideoContent(video_id=f"v{number}", version="a", videos_offset=7 * self.vectors)
            self.pool.note_contents([one], [self.vectors])
            self.vectors += 1
            return
        if kind == "video":
            self.pool.add([video(number, author=number % 7)], [self.videos])
        else:
            self.pool.withdraw(f"v{number}", self.videos)
        self.videos += 1


def remembered(changes, cut):
    """Return whether a look back to the first `cut` changes finds every video's content of then: `KEPT` are kept."""
    later = [number for kind, number in changes[cut:] if kind == "content"]
    return all(later.count(number) < KEPT for number in later)


def new_feeds():
    return Feeds(FreshPool(64, 10**9, 1000))


@settings(deadline=None, max_examples=150)
@given(CHANGES, st.integers(0, 14), st.booleans())
def test_a_look_back_shows_the_contents_of_then(changes, cut, encoded_before):
    assume(remembered(changes, cut))
    then, now = new_feeds(), new_feeds()
    for change in changes[:cut]:
        then.take(*change)
    if encoded_before:
        now.pool.encoded(SCORER)
    for change in changes:
        now.take(*change)
    with now.pool.as_of(then.videos, then.vectors):
        size = now.pool.size
        assert size == then.pool.size
        for column in ("vectors", "keys"):
            found = getattr(now.pool.encoded(SCORER), column)[:size]
            assert np.array_equal(found, getattr(then.pool.encoded(SCORER), column)[:size])
    again = new_feeds()
    for change in changes:
        again.take(*change)
    assert np.array_equal(now.pool.encoded(SCORER).vectors, again.pool.encoded(SCORER).vectors)


def test_a_look_back_beyond_what_is_remembered_finds_the_video_without_content():
    now = new_feeds()
    now.take("video", 0)
    for _ in range(KEPT + 1):
        now.take("content", 0)
    slot = now.pool.slot("v0")
    for vectors, offset in ((KEPT + 1, KEPT), (2, 1), (1, None)):
        with now.pool.as_of(now.videos, vectors):
            (found,) = now.pool.contents([slot])
            assert (found and found.videos_offset) == (None if offset is None else 7 * offset)


@settings(deadline=None, max_examples=60)
@given(histories(), CHANGES, st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_events_applied_again_make_the_same_states(events, changes, cuts):
    """Batches with changes between them, then the same batches once every change has arrived."""
    assume(remembered(changes, 0))
    feeds = new_feeds()
    for number in range(40):
        feeds.take("video", number)
    first, journal, waiting = Partition(0, CONFIG, feeds.pool), [], list(changes)
    start = turn = 0
    slates = []
    while start < len(events):
        end = start + cuts[turn % len(cuts)]
        journal.append((start, end, feeds.videos, feeds.vectors))
        effects = first.apply(first.plan(events[start:end]), lambda arm: SCORER)
        slates += effects.slate_pairs()
        if waiting:
            feeds.take(*waiting.pop(0))
        start, turn = end, turn + 1
    for change in waiting:
        feeds.take(*change)
    second, again = Partition(0, CONFIG, feeds.pool), []
    for start, end, videos, vectors in journal:
        with feeds.pool.as_of(videos, vectors):
            effects = second.apply(second.plan(events[start:end]), lambda arm: SCORER)
            again += effects.slate_pairs()
    users = sorted({one[2].user_id for one in events})
    assert first.states.pack(users) == second.states.pack(users)
    if not any(kind == "video" and number < 40 for kind, number in changes):  # published again: its new facts show
        assert slates == again
