"""A process that ends again and again is led to the one record it dies of, and to no other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.attempts import Attempts
from streams.batches import Batch, cut
from streams.core.layout import StateError
from streams.turn import apply


def batch(begin, end, holes=()):
    records = [SimpleNamespace(offset=offset) for offset in range(begin, end) if offset not in holes]
    return Batch(("events", 0), records, begin, end, 0)


class Died(Exception):
    pass


def process(path, polls, bad):
    """Go through polls as a worker would, from a start on; return the condemned offsets."""
    attempts, condemned = Attempts(path), []
    for poll in polls:
        for part in cut(poll, attempts.cuts(poll)):
            guilty = attempts.culprit(part)
            attempts.begin(part)
            if guilty:
                condemned += [record.offset for record in part.records]
            elif bad & {record.offset for record in part.records}:
                raise Died
            attempts.done(part)
    return condemned


def restarts(path, polls, bad):
    for count in range(200):
        try:
            return count, process(path, polls(count), bad)
        except Died:
            continue
    raise AssertionError("never came through")


@pytest.mark.parametrize("bad", [0, 1, 57, 99])
def test_one_bad_record_is_found_within_the_logarithm_of_its_batch(tmp_path, bad):
    count, condemned = restarts(tmp_path / "a", lambda _: [batch(0, 100)], {bad})
    assert condemned == [bad]
    assert count <= 10


def test_a_hole_in_the_offsets_does_not_hide_it(tmp_path):
    holes = set(range(3, 60))
    assert restarts(tmp_path / "a", lambda _: [batch(0, 64, holes)], {61})[1] == [61]


def test_two_bad_records_are_found_one_after_the_other(tmp_path):
    def polls(_):
        return [batch(begin, begin + 20) for begin in range(found, 100, 20)]

    found, condemned = 0, []
    for bad in ({17, 80}, {80}):
        condemned += restarts(tmp_path / "a", polls, bad)[1]
        found = condemned[-1] + 1
    assert condemned == [17, 80]


def test_batches_that_are_cut_otherwise_after_each_restart(tmp_path):
    sizes = (7, 50, 13, 31, 100, 3)

    def polls(count):
        size = sizes[count % len(sizes)]
        return [batch(at, min(100, at + size)) for at in range(0, 100, size)]

    assert restarts(tmp_path / "a", polls, {42})[1] == [42]


def test_one_end_condemns_nothing(tmp_path):
    Attempts(tmp_path / "a").begin(batch(5, 6))
    attempts = Attempts(tmp_path / "a")
    assert not attempts.culprit(batch(5, 6))
    assert attempts.cuts(batch(5, 6)) == []


def test_ends_at_different_places_condemn_nothing(tmp_path):
    for begin in (0, 10, 20, 30):
        Attempts(tmp_path / "a").begin(batch(begin, begin + 1))
    attempts = Attempts(tmp_path / "a")
    assert not any(attempts.culprit(batch(offset, offset + 1)) for offset in range(40))


def test_what_was_applied_is_no_suspect_any_longer(tmp_path):
    for _ in range(2):
        Attempts(tmp_path / "a").begin(batch(0, 4))
    attempts = Attempts(tmp_path / "a")
    assert attempts.cuts(batch(0, 8)) == [0, 2, 4]
    attempts.done(batch(0, 2))
    assert Attempts(tmp_path / "a").suspect == (2, 4)
    attempts.done(batch(2, 4))
    assert attempts.cuts(batch(0, 8)) == []


def test_a_cut_note_is_no_note(tmp_path):
    (tmp_path / "a").write_bytes(b"short")
    assert Attempts(tmp_path / "a").cuts(batch(0, 4)) == []


def test_a_state_that_cannot_be_read_is_not_the_records_fault(tmp_path, make_settings):
    def fail(plan):
        raise StateError("another layout")

    path = tmp_path / "a"
    owned = SimpleNamespace(
        attempts=Attempts(path), load=fail, core=SimpleNamespace(plan=lambda arrivals: arrivals, pool=None)
    )
    for _ in range(3):
        with pytest.raises(StateError):
            apply(owned, batch(0, 0), None, 0, make_settings())
    assert Attempts(path).strikes == 0
