"""State after any cut into batches, and after restarts from packed states, is equal to the bit."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.cells import CellIndex
from streams.codecs import Decoder, encode
from streams.core.events import EventType, Feedback, Slate
from streams.core.lifts import LiftConfig
from streams.core.pool import FreshPool, Indexing
from streams.core.ranking import Policy
from streams.core.state import StateShape
from streams.core.step import Partition, StepConfig
from tests.fakes import FakeScorer, event, video

decode_slate, decode_feedback = Decoder(Slate), Decoder(Feedback)


def shown(record):
    """Return a record as plain values, 32-bit floats as such."""
    plain = msgspec.to_builtins(record)

    def single(value):
        if isinstance(value, list | tuple):
            return [single(one) for one in value]
        return float(np.float32(value)) if isinstance(value, float) else value

    return {name: single(value) for name, value in plain.items()}


CONFIG = StepConfig(
    policy=Policy(size=5, minimum=2, threshold=0.2, author_cap=2, exploration=0.3),
    shape=StateShape(8, 4, 6, positions=8, chunk=3),
    label_window_ms=100,
    correction_window_ms=500,
    pending_kept=5,
    user_limit=9,
    ties_kept=3,
    lifts=LiftConfig(follow=0.7),
)
KINDS = [
    EventType.OPEN, EventType.IMPRESSION, EventType.WATCH, EventType.LIKE, EventType.SKIP, EventType.PLAY,
    EventType.PROFILE, EventType.FOLLOW, EventType.UNFOLLOW, EventType.BEFRIEND,
]  # fmt: skip


def make_pool(capacity: int = 64, indexing: Indexing | None = None) -> FreshPool:
    pool = FreshPool(capacity, 10**9, 1000, indexing)
    pool.add([video(number, author=number % 7) for number in range(40)])
    return pool


def tie(kind, user, number):
    """Return the fields of an event that names an author or another user."""
    if kind is EventType.BEFRIEND:
        return {"other_id": f"u{user + 1 + number}"}
    return {"other_id": f"a{number % 7}"} if number % 2 and kind in (EventType.FOLLOW, EventType.UNFOLLOW) else {}


@st.composite
def histories(draw):
    """Events of a few users; impressions refer to slates that the stream made before, as clients do."""
    steps = draw(
        st.lists(
            st.tuples(
                st.integers(0, 4), st.sampled_from(KINDS), st.integers(0, 45), st.integers(0, 60), st.integers(0, 3)
            ),
            min_size=1,
            max_size=60,
        )
    )
    events, now, last_slate = [], 1_000, {}
    for offset, (user, kind, number, wait, position) in enumerate(steps):
        now += wait
        fields = {}
        if kind is EventType.PROFILE:
            fields = {"profile": tuple(f"f{one}={number % 3}" for one in range(position))}
        elif kind is not EventType.OPEN and user in last_slate and number % 4:  # the others come without a slate
            fields = {"slate_id": f"0-{last_slate[user]}", "position": position}
        fields |= tie(kind, user, number)
        events.append(
            (offset, now, event(f"u{user}", kind, number, now, event_id=f"e{offset}", watch_ms=number * 300, **fields))
        )
        if kind in (EventType.OPEN, EventType.WATCH):
            last_slate[user] = offset
    return events


class Shell:
    """A worker without Kafka: a durable store as a dict, restarts that keep nothing else."""

    def __init__(self, pool: FreshPool | None = None) -> None:
        self.pool, self.scorer = pool or make_pool(), FakeScorer()
        self.store, self.slates, self.feedback, self.counts = {}, {}, [], Counter()
        self.applied, self.watermark = 0, 0
        self.sent: set[tuple[bytes, bytes]] = set()  # feedback to the letter
        self.restart()

    def restart(self) -> None:
        self.core = Partition(0, CONFIG, self.pool)
        self.core.watermark_ms = self.watermark
        for key, packed in self.store.items():
            if key[:1] == b"u":
                row = self.core.states.load(key[1:].decode(), packed, self.store)
                self.core.expect(key[1:].decode(), self.core.states.impressions.get(row, []))

    def run(self, events, durable=lambda user: True) -> None:
        """Apply a batch; only users for whom `durable` holds reach the store, as when a kill comes between sends."""
        effects = self.core.apply(self.core.plan(events), lambda arm: self.scorer)
        written = dict(zip((slate.slate_id for slate in effects.slates), effects.slate_pairs(), strict=True))
        for slate in effects.slates:
            key, value = written[slate.slate_id]
            assert (key.decode(), shown(decode_slate(value))) == (slate.user_id, shown(slate))
            self.slates.setdefault(slate.slate_id, value)
        self.sent.update(effects.feedback_pairs())
        self.feedback.extend(decode_feedback(value) for _, value in effects.feedback_pairs())
        newest = self.feedback[len(self.feedback) - len(effects.feedback) :]
        assert list(map(shown, effects.feedback)) == list(map(shown, newest))
        self.counts.update(effects.counts)
        packed = self.core.states.pack(list(effects.touched))
        self.store.update({key: record for key, record in packed.items() if durable(key[1:3].decode())})
        if all(durable(user) for user in effects.touched):
            self.applied, self.watermark = events[-1][0] + 1, self.core.watermark_ms


def run_in_parts(shell, events, sizes) -> None:
    """Run batches of these sizes in turn, until all events are applied."""
    start, turn = 0, 0
    while start < len(events):
        size = sizes[turn % len(sizes)]
        shell.run(events[start : start + size])
        start, turn = start + size, turn + 1


@settings(deadline=None, max_examples=60)
@given(histories(), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_cut_into_batches_changes_nothing(events, cuts):
    whole, cut = Shell(), Shell()
    whole.run(events)
    run_in_parts(cut, events, cuts)
    assert whole.store == cut.store
    assert whole.slates == cut.slates
    assert Counter(map(encode, whole.feedback)) == Counter(map(encode, cut.feedback))
    assert whole.sent == cut.sent


@settings(deadline=None, max_examples=60)
@given(histories(), st.integers(1, 12), st.sets(st.integers(0, 4)), st.integers(0, 6))
def test_killed_between_sends_and_restarted(events, size, lost, kill_at):
    whole, killed = Shell(), Shell()
    whole.run(events)
    batch = 0
    while killed.applied < len(events):
        chunk = events[killed.applied : killed.applied + size]
        if batch == kill_at:
            killed.run(chunk, durable=lambda user: int(user[1:]) not in lost)
            killed.restart()
        else:
            killed.run(chunk)
        batch += 1
    assert whole.store == killed.store
    assert set(whole.slates) == set(killed.slates)
    assert whole.sent == killed.sent


LARGE = 4096  # a pool whose slots would be more bits a viewer than the keys of what CONFIG remembers


@settings(deadline=None, max_examples=60)
@given(histories())
def test_seen_videos_by_key_make_the_same_slates_as_bits(events):
    bits, keys = Shell(), Shell(make_pool(LARGE))
    bits.run(events)
    keys.run(events)
    assert keys.core.states.by_key
    assert not bits.core.states.by_key
    assert bits.store == keys.store
    assert bits.slates == keys.slates
    assert bits.sent == keys.sent


@settings(deadline=None, max_examples=40)
@given(histories(), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_cut_into_batches_changes_nothing_with_an_index(events, cuts):
    indexing = Indexing(20, lambda expected, slots, keys: CellIndex(expected, slots, keys, 2))
    whole, cut = Shell(make_pool(LARGE, indexing)), Shell(make_pool(LARGE, indexing))
    whole.run(events)
    run_in_parts(cut, events, cuts)
    assert whole.pool.encoded(whole.scorer).index is not None
    assert whole.store == cut.store
    assert whole.slates == cut.slates
