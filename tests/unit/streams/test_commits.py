"""Group commit: what is ready goes together, in order; an erasure goes alone; of each key the newest record stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.commits import Commit, Commits, newest


def commit(erased: bool = False, ready: bool = True) -> Commit:
    turn: Any = SimpleNamespace(effects=SimpleNamespace(erased=["someone"] if erased else []))
    return Commit(turn, lambda: None, None, ready)


def test_what_is_ready_goes_together_and_nothing_overtakes_what_is_not():
    commits, parts = Commits(), [commit(), commit(), commit(ready=False), commit()]
    for part in parts:
        commits.add(part)
    assert commits.take() == parts[:2]
    commits.written()
    assert commits.take() == []
    parts[2].ready = True
    assert commits.take() == parts[2:]


def test_nothing_is_taken_while_something_is_written_and_all_is_settled_at_the_end():
    commits = Commits()
    assert commits.settled.is_set()
    commits.add(commit())
    assert not commits.settled.is_set()
    assert len(commits.take()) == 1
    commits.add(commit())
    assert commits.take() == []
    commits.written()
    assert not commits.settled.is_set()
    assert len(commits.take()) == 1
    commits.written()
    assert commits.settled.is_set()


@pytest.mark.parametrize("kinds", [[True, False, False], [False, True, False], [True, True, False]])
def test_an_erasure_goes_alone(kinds):
    commits, parts = Commits(), [commit(erased=kind) for kind in kinds]
    for part in parts:
        commits.add(part)
    groups = []
    while group := commits.take():
        groups.append(group)
        commits.written()
    assert [part for group in groups for part in group] == parts
    assert all(len(group) == 1 for group in groups if any(part.turn.effects.erased for part in group))


@given(st.lists(st.dictionaries(st.binary(min_size=1, max_size=1), st.integers()), max_size=6))
def test_the_newest_record_of_each_key_stays_in_the_order_in_which_it_was_made(batches):
    written = [(key, (place, value)) for place, records in enumerate(batches) for key, value in records.items()]
    last = {key: at for at, (key, _) in enumerate(written)}
    expected = [(key, value) for at, (key, (_, value)) in enumerate(written) if last[key] == at]
    assert list(newest(batches).items()) == expected


def test_what_was_packed_is_left_as_it_is():
    first, second = {b"a": 1, b"b": 2}, {b"a": 3}
    assert list(newest([first, second]).items()) == [(b"b", 2), (b"a", 3)]
    assert (first, second) == ({b"a": 1, b"b": 2}, {b"a": 3})
