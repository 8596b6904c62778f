"""A process that ends again and again is led to the one record it dies of, and to no other."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest

from streams.attempts import Attempts
from streams.core.layout import StateError
from streams.gathering import Batch, cut
from streams.journal import Ends, Journal
from streams.turn import apply


def batch(begin, end, holes=()):
    records = [SimpleNamespace(offset=offset) for offset in range(begin, end) if offset not in holes]
    return Batch(("events", 0), records, begin, end, 0)


class Died(Exception):
    pass


class Worker:
    """Goes through offsets 0 to 99 from start to start; what is under suspicion is made durable at once."""

    def __init__(self, path, bad, size=20, holes=()):
        self.path, self.bad, self.size, self.holes = path, bad, size, set(holes)
        self.durable, self.condemned, self.starts = 0, [], 0

    def run(self):
        """Start again and again until all is applied; return the condemned offsets."""
        while self.durable < 100:
            self.starts += 1
            assert self.starts < 200, "never comes through"
            with suppress(Died):
                self._process()
        return self.condemned

    def _process(self):
        attempts, at = Attempts(self.path), self.durable
        size = self.size if isinstance(self.size, int) else self.size[self.starts % len(self.size)]
        while at < 100:
            poll = batch(at, min(100, at + size), self.holes)
            suspected = attempts.suspicious
            for part in cut(poll, attempts.cuts(poll)):
                guilty = attempts.culprit(part)
                attempts.begin(part)
                if not guilty and self.bad & {record.offset for record in part.records}:
                    raise Died
                attempts.done(part)
                if suspected:
                    self.durable = part.end
                    self.condemned += [record.offset for record in part.records] if guilty else []
            at = poll.end
        self.durable = at


@pytest.mark.parametrize("bad", [0, 1, 57, 99])
def test_one_bad_record_is_found_within_the_logarithm_of_its_batch(tmp_path, bad):
    worker = Worker(tmp_path / "a", {bad}, size=100)
    assert worker.run() == [bad]
    assert worker.starts <= 11


def test_a_hole_in_the_offsets_does_not_hide_it(tmp_path):
    assert Worker(tmp_path / "a", {61}, size=64, holes=range(3, 60)).run() == [61]


@pytest.mark.parametrize("size", [1, 3, 20, 100])
def test_several_bad_records_are_found_one_after_the_other(tmp_path, size):
    assert Worker(tmp_path / "a", {17, 18, 80}, size).run() == [17, 18, 80]


def test_batches_that_are_cut_otherwise_after_each_start(tmp_path):
    assert Worker(tmp_path / "a", {42}, (7, 50, 13, 31, 100, 3)).run() == [42]


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
    def fail(*_):
        raise StateError("another layout")

    path = tmp_path / "a"
    owned = SimpleNamespace(attempts=Attempts(path), journal=Journal(), apply=fail)
    models = SimpleNamespace(serving=SimpleNamespace(online=0, frozen=-1, trial=-1, share=0.0), scorer=None, trial=None)
    for _ in range(3):
        with pytest.raises(StateError):
            apply(owned, batch(0, 0), models, Ends(0, 0), make_settings())
    assert Attempts(path).strikes == 0
