import numpy as np
import pytest

from benchmarks.freshness_loop import LatePartition, StatesThen
from benchmarks.job import HIDDEN, make_events, make_pool, make_scorer, make_videos
from benchmarks.rebuild import MOST, World, compared, shortened
from streams.core.layout import StateShape
from streams.core.ranking import Policy
from streams.core.rebuilding import rebuild
from streams.core.step import Partition, StepConfig

USERS, EVENTS = 7, 400


def replayed(recent, kind=Partition, count=EVENTS):
    scorer = make_scorer()
    config = StepConfig(policy=Policy(), shape=StateShape(HIDDEN, recent, 1024))
    core = kind(0, config, make_pool(scorer, make_videos()))
    core.late = {}
    arrivals = [(at, event.event_time_ms, event) for at, event in enumerate(make_events(EVENTS, USERS))]
    for start in range(0, count, 50):
        core.apply(core.plan(arrivals[start : start + 50]), lambda arm: scorer)
    return core, scorer, arrivals


def rows_of(core):
    return core.states.rows(sorted(core.states.oldest(0)))


@pytest.mark.parametrize("count", [1, 8, 20])
def test_a_shortened_state_is_what_room_for_fewer_events_would_have_left(count):
    (long, scorer, _), (short, _, _) = replayed(MOST), replayed(count)
    rows = rows_of(long)
    found = shortened(long.states, rows, count)
    expected = short.states.table[rows_of(short)]
    for name in ("steps", "recent_videos", "recent_numbers", "recent_flags"):
        assert np.array_equal(found.table[name], expected[name]), name
    one = rebuild(found, np.arange(len(rows)), long.pool, scorer)
    assert np.array_equal(one, rebuild(short.states, rows_of(short), short.pool, scorer))


def test_all_events_give_the_state_of_a_full_replay():
    core, scorer, _ = replayed(MOST)
    rows = rows_of(core)
    assert core.states.table["steps"][rows].max() < MOST
    assert np.array_equal(rebuild(core.states, rows, core.pool, scorer), core.states.table["hidden"][rows])


def test_the_curve_ends_at_distance_zero_and_falls_towards_it():
    core, scorer, _ = replayed(MOST)
    rows = rows_of(core)
    world = World.__new__(World)
    world.pool, world.states, world.scorer, world.rows = core.pool, core.states, scorer, rows
    world.slots = np.arange(core.pool.size)
    world.viewers = np.arange(len(rows))
    world.values = np.random.default_rng(0).random((len(rows), core.pool.size))
    found = compared(world, [8, 64])
    assert [row["recent_events"] for row in found] == [8, 64, "all"]
    assert found[0]["distance"] > found[2]["distance"] == 0
    assert (found[2]["same_of_top_20"], found[2]["reward_lost"], found[2]["reward_lost_interval"]) == (1, 0, [0, 0])


def test_states_of_a_boundary_stay_as_they_were():
    core, scorer, arrivals = replayed(MOST, LatePartition, count=200)
    rows = rows_of(core)
    before = core.states.table["hidden"][rows].copy()
    then = StatesThen()

    def make(states, stale):
        return rebuild(states, stale, core.pool, scorer)

    assert not then.hidden(rows, HIDDEN, make, 0).any()
    then.take(core.states)
    core.apply(core.plan(arrivals[200:]), lambda arm: scorer)
    assert not np.array_equal(core.states.table["hidden"][rows], before)
    assert np.array_equal(then.hidden(rows, HIDDEN, make, 0), before)
    new = np.array([len(core.states.table)])
    assert not then.hidden(new, HIDDEN, make, 0).any()


class Noting(LatePartition):
    def _finish(self, batch, slated, parts, effects):
        super()._finish(batch, slated, parts, effects)
        self.noted = slated.hidden[batch.slated].copy()


def test_a_late_arm_is_ranked_from_the_boundary_and_its_states_go_on():
    noted, hidden = [], []
    for late in ({}, {"online": StatesThen()}):  # no boundary has come: as for a new viewer
        core, scorer, arrivals = replayed(MOST, Noting, count=200)
        core.late = late
        core.apply(core.plan(arrivals[200:250]), lambda arm, scorer=scorer: scorer)
        noted.append(core.noted)
        hidden.append(core.states.table["hidden"][rows_of(core)])
    assert noted[0].any(axis=1).all()
    assert not noted[1].any()
    assert np.array_equal(*hidden)
