"""An erased user stays erased wherever batches are cut and kills fall, and comes back as somebody new."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.attempts import Attempts
from streams.core.erasure import mark_key, mark_of
from streams.core.events import EventType
from streams.core.step import Partition
from streams.owned import OwnedPartition
from streams.state_store import META_KEY, Meta, StateStore
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG, KINDS, make_pool, run_in_parts, tie

RIGHTS = [EventType.FORGET, EventType.CONSENT]


@st.composite
def histories(draw):
    """Events of three users, of whom some are forgotten and some come back."""
    kinds = st.one_of(st.sampled_from(KINDS), st.sampled_from(KINDS), st.sampled_from(RIGHTS))
    steps = draw(st.lists(
        st.tuples(st.integers(0, 2), kinds, st.integers(0, 45), st.integers(0, 60), st.integers(0, 3)),
        min_size=1, max_size=60,
    ))  # fmt: skip
    events, now, last_slate = [], 1_000, {}
    for offset, (user, kind, number, wait, position) in enumerate(steps):
        now += wait
        fields = {}
        if kind in KINDS and kind is not EventType.OPEN and user in last_slate and number % 4:
            fields = {"slate_id": f"0-{last_slate[user]}", "position": position}
        fields |= tie(kind, user, number)
        made = event(f"u{user}", kind, number, now, event_id=f"e{offset}", watch_ms=number * 300, **fields)
        events.append((offset, now, made))
        if kind in (EventType.OPEN, EventType.WATCH):
            last_slate[user] = offset
    return events


class Shell:
    """A worker without Kafka: the changelog is a list, and the store is made anew from it at every restart."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scorer = folder, FakeScorer()
        self.changelog, self.slates, self.sent = [], {}, set()
        self.owned, self.lives = None, 0
        self.restart()

    def restart(self, compact=False) -> None:
        if self.owned is not None:
            self.owned.store.close()
        self.lives += 1
        store = StateStore(self.folder / f"s{id(self)}-{self.lives}")
        if compact:
            self.changelog = list(self.live().items())
        for at in range(0, len(self.changelog), 7):
            store.absorb(self.changelog[at : at + 7], at + 7)
        store.purge()
        self.owned = OwnedPartition(
            Partition(0, CONFIG, make_pool()), store, None, 0.0, Attempts(self.folder / "attempt")
        )

    def live(self):
        newest = {}
        for key, value in self.changelog:
            newest.pop(key, None)
            newest[key] = value
        return {key: value for key, value in newest.items() if value is not None}

    @property
    def applied(self) -> int:
        return self.owned.store.meta.applied_through

    def run(self, events, durable=None) -> Counter:
        """Apply a batch; of what it writes to the changelog only the first `durable` records arrive."""
        effects, _, _ = self.owned.apply(events, lambda arm: self.scorer)
        for slate, pair in zip(effects.slates, effects.slate_pairs(), strict=True):
            self.slates.setdefault(slate.slate_id, pair)
        self.sent.update(effects.feedback_pairs())
        packed, meta = self.owned.pack(effects), self.owned.progress(events[-1][0] + 1)
        records = [*packed.items(), (META_KEY, msgspec.msgpack.encode(meta))]
        self.changelog += records if durable is None else records[:durable]
        if durable is None:
            self.owned.written(packed, Meta(meta.applied_through, meta.watermark_ms, 0), self.owned.turn, 1)
        return effects.counts

    def state(self):
        return {key: value for key, value in self.live().items() if key != META_KEY}


def with_folder(check):
    folder = Path(tempfile.mkdtemp())
    try:
        check(folder)
    finally:
        shutil.rmtree(folder)


@settings(deadline=None, max_examples=15)
@given(histories(), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_batches_may_be_cut_anywhere(events, cuts):
    def check(folder):
        whole, cut = Shell(folder), Shell(folder)
        whole.run(events)
        run_in_parts(cut, events, cuts)
        assert whole.state() == cut.state()
        assert (whole.slates, whole.sent) == (cut.slates, cut.sent)

    with_folder(check)


def erased_with_a_chunk():
    """A full chunk is durable, then its user forgets."""
    shown = [event("u1", EventType.IMPRESSION, number, 1_000, event_id=f"e{number}") for number in range(3)]
    return [(n, 1_000, one) for n, one in enumerate([*shown, event("u1", EventType.FORGET, 0, 1_000, event_id="e3")])]


@settings(deadline=None, max_examples=30)
@given(histories(), st.integers(1, 12), st.integers(0, 12), st.integers(0, 6), st.booleans())
@example(erased_with_a_chunk(), 3, 1, 1, False)  # only the mark arrives
def test_a_kill_in_the_middle_of_the_changelog_brings_nobody_back(events, size, durable, kill_at, compact):
    def check(folder):
        whole, killed = Shell(folder), Shell(folder)
        whole.run(events)
        batch = 0
        while killed.applied < len(events):
            chunk = events[killed.applied : killed.applied + size]
            killed.run(chunk, durable if batch == kill_at else None)
            if batch == kill_at:
                killed.restart(compact)
            batch += 1
        killed.restart(compact)
        assert whole.state() == killed.state()
        assert (whole.slates, whole.sent) == (killed.slates, killed.sent)

    with_folder(check)


@settings(deadline=None, max_examples=15)
@given(histories())
def test_between_forgetting_and_consent_there_is_nothing_of_the_user(events):
    def check(folder):
        shell, out = Shell(folder), set()
        for one in events:
            user, kind = one[2].user_id, one[2].type
            labelled = {pair for pair in shell.sent if pair[0] == user.encode()}
            shell.run([one])
            if kind is EventType.FORGET:
                out.add(user)
            elif kind is EventType.CONSENT:
                out.discard(user)
            elif user in out:
                assert {pair for pair in shell.sent if pair[0] == user.encode()} == labelled
                assert not any(slate_id == f"0-{one[0]}" for slate_id in shell.slates)
            for gone in out:
                assert not [key for key in shell.state() if key[1:3] == gone.encode()]
                assert mark_key(mark_of(gone)) in shell.state()
                assert shell.owned.is_erased(gone)
                assert gone not in shell.owned.core.states

    with_folder(check)
