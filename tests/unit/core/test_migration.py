"""States of every layout since the oldest can be read, and written for workers that know only that one."""

import json

import pytest

from streams.core.layout import LAYOUT, StateError, Tail, impressions_of, shape_of, tail_of, user_key
from streams.core.migration import OLDEST, STEPS, downgraded, relocated, upgraded
from streams.core.state import UserStates
from streams.core.ties import NONE
from tests.state_records import FOLDER, OPEN, PROFILE, SHAPE, TIES, columns, filled, pool

LAYOUTS = range(OLDEST, LAYOUT + 1)


def kept(layout):
    path = FOLDER / f"state-layout-{layout}.json"
    assert path.exists(), "keep a record of this layout: python -m tests.state_records"
    found = json.loads(path.read_text())
    return found, {bytes.fromhex(key): bytes.fromhex(value) for key, value in found["records"].items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_state_stored_by_an_earlier_version_is_read_whole(layout):
    found, records = kept(layout)
    assert records[user_key("a")][0] == layout
    states = UserStates(SHAPE, pool())
    states.load("a", records[user_key("a")], records)
    now = columns(states)
    assert {name: now[name] for name in found["columns"]} == found["columns"]
    assert states.seen_keys(states.row("a")).tolist() == found["seen"]
    assert states.impressions[states.row("a")] == OPEN
    assert states.profiles.get(states.row("a"), ()) == (PROFILE if layout >= 5 else ())
    assert states.ties.get(states.row("a"), NONE) == (TIES if layout >= 5 else NONE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_state_written_for_an_earlier_version_is_what_that_one_would_have_written(layout):
    _, records = kept(layout)
    states = UserStates(SHAPE, pool())
    states.load("a", records[user_key("a")], records)
    record = states.pack(["a"])[user_key("a")]
    assert record[0] == LAYOUT
    assert downgraded(record, layout) == records[user_key("a")][:7] + record[7:8] + records[user_key("a")][8:]
    assert impressions_of(upgraded(downgraded(record, layout))) == OPEN


@pytest.mark.parametrize("layout", range(OLDEST, 5))
def test_a_state_without_tail_has_none_in_any_layout(layout):
    states = filled()
    states.set_open(states.row("a"), [])
    states.set_profile(states.row("a"), ())
    states.set_ties(states.row("a"), NONE)
    record = states.pack(["a"])[user_key("a")]
    earlier = downgraded(record, layout)
    assert len(record) - len(earlier) == (8 if layout == 3 else 0)
    assert upgraded(earlier)[8:] == (record if layout > 3 else record[:40] + bytes(8) + record[48:])[8:]


def test_profile_and_ties_are_forgotten_by_layouts_that_know_none_and_go_along_to_another_cluster():
    record = filled().pack(["a"])[user_key("a")]
    assert tail_of(upgraded(downgraded(record, 4))) == Tail(OPEN)
    assert tail_of(relocated(record)) == Tail([], PROFILE, *TIES)


def test_the_present_layout_passes_through_untouched():
    record = filled().pack(["a"])[user_key("a")]
    assert upgraded(record) is record
    assert downgraded(record, LAYOUT) is record


@pytest.mark.parametrize("layout", [OLDEST - 1, LAYOUT + 1])
def test_a_layout_that_is_not_known_is_refused_and_never_misread(layout):
    record = filled().pack(["a"])[user_key("a")]
    with pytest.raises(StateError, match="layout"):
        downgraded(record, layout)
    with pytest.raises(StateError, match=f"layout {layout}"):
        shape_of(upgraded(bytes((layout,)) + record[1:]), SHAPE)


def test_there_is_a_step_from_every_layout_to_the_next():
    assert set(range(OLDEST, LAYOUT)) <= set(STEPS)
