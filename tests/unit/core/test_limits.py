"""A user's limit holds by minute of the watermark, whatever the cuts, restarts and repetitions."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from streams.core.events import EventType
from streams.core.layout import user_key
from streams.core.step import Partition
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG, make_pool

LIMIT = 9
LIMITED = replace(CONFIG, user_limit=LIMIT)
SCORER = FakeScorer()


def history(seed, count=150):
    """Events of three users, one of them in a hurry, over some minutes."""
    rng = random.Random(seed)
    events, now = [], 1_000
    for offset in range(count):
        now += rng.choice((0, 50, 2_000))
        user = rng.choice(("hasty", "hasty", "hasty", "a", "b"))
        events.append((offset, now, event(user, EventType.WATCH, rng.randrange(30), now, event_id=f"e{offset}")))
    return events


def applied(events, sizes, repeat=0, restart=False):
    """States and numbers of slates after batches of these sizes, each begun so many events too early."""
    core = Partition(0, LIMITED, make_pool())
    at, made, limited, stored, turn = 0, {}, 0, {}, 0
    while at < len(events):
        size = sizes[turn % len(sizes)]
        turn += 1
        if restart and turn % 3 == 0:
            mark = core.watermark_ms
            core = Partition(0, LIMITED, make_pool())
            core.watermark_ms = mark
            for key, record in stored.items():
                if key[:1] == b"u":
                    core.states.load(key[1:].decode(), record, stored)
        chunk = events[max(0, at - repeat) : at + size]
        at += size
        effects = core.apply(core.plan(chunk), lambda arm: SCORER)
        stored |= core.states.pack(list(effects.touched))
        made |= {slate.slate_id: slate.user_id for slate in effects.slates}
        limited += effects.counts["limited"]
    return {key: value for key, value in stored.items() if key[:1] == b"u"}, made, limited


@pytest.mark.parametrize("seed", range(6))
def test_cuts_restarts_and_repetitions_change_nothing(seed):
    events = history(seed)
    states, slates, limited = applied(events, (len(events),))
    assert limited > 20
    for sizes, repeat, restart in (
        ((1,), 0, False),
        ((7, 40, 3), 0, False),
        ((11, 30), 9, False),
        ((5, 1, 17), 6, True),
    ):
        assert applied(events, sizes, repeat, restart) == (states, slates, limited)


@pytest.mark.parametrize("seed", range(6))
def test_the_first_of_each_minute_count_and_nobody_else_is_touched(seed):
    events = history(seed)
    _, slates, limited = applied(events, (50,))
    expected, left = {}, 0
    for offset, now, one in events:
        minute = one.user_id, now // 60_000
        expected[minute] = expected.get(minute, 0) + 1
        left += expected[minute] > LIMIT
        assert (f"0-{offset}" in slates) == (expected[minute] <= LIMIT)
    assert limited == left


def test_no_limit():
    core = Partition(0, replace(CONFIG, user_limit=0), make_pool())
    events = [(offset, 1_000, event("u", number=offset, event_id=f"e{offset}")) for offset in range(40)]
    assert len(core.apply(core.plan(events), lambda arm: SCORER).slates) == 40


def test_an_event_beyond_the_limit_moves_the_offset():
    events = [(offset, 1_000, event("u", number=offset, event_id=f"e{offset}")) for offset in range(LIMIT + 5)]
    core = Partition(0, LIMITED, make_pool())
    core.apply(core.plan(events), lambda arm: SCORER)
    row = core.states.row("u")
    assert core.states.table["last_offset"][row] == LIMIT + 4
    assert core.states.table["minute_events"][row] == LIMIT + 5
    assert core.states.table["steps"][row] == LIMIT
    assert user_key("u") in core.states.pack(["u"])
