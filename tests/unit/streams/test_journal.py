"""Which entry holds for an event that is applied again, and when a new one is needed."""

from __future__ import annotations

from streams.journal import PLACES, Entry, Journal, encode_entry


def entry(number, offset, online=0, videos=10):
    return Entry(number, offset, online, -1, videos)


def stored(*entries):
    return [encode_entry(one) for one in entries]


def test_the_first_event_needs_an_entry_and_the_next_only_when_something_changed():
    journal = Journal()
    assert journal.note(0, 0, -1, 10) == entry(0, 0)
    assert journal.note(5, 0, -1, 10) is None
    assert journal.note(9, 1, -1, 10) == entry(1, 9, online=1)
    assert journal.note(12, 1, -1, 11) == entry(2, 12, online=1, videos=11)


def test_what_is_applied_again_is_applied_under_its_entry():
    journal = Journal(stored(entry(1, 20, online=2), entry(0, 0, online=1)), applied=15, until=30)
    assert [journal.replayed(offset) for offset in (15, 19)] == [entry(0, 0, online=1)] * 2
    assert journal.replayed(20) == journal.replayed(29) == entry(1, 20, online=2)
    assert journal.replayed(30) is None
    assert journal.cuts(15) == [20, 30]


def test_nothing_is_replayed_when_nothing_can_have_been_published():
    assert Journal(stored(entry(0, 0)), applied=30, until=30).replayed(30) is None
    assert Journal((), applied=0, until=30).replayed(0) is None


def test_a_later_entry_holds_against_earlier_ones_from_its_offset_on():
    journal = Journal(stored(entry(0, 0), entry(1, 20, online=1), entry(2, 10, online=2)), applied=5, until=30)
    assert [journal.replayed(offset).online for offset in (5, 9, 10, 25)] == [0, 0, 2, 2]


def test_an_entry_within_what_is_replayed_ends_the_replay():
    journal = Journal(stored(entry(0, 0, online=1), entry(1, 20, online=2)), applied=5, until=30)
    assert journal.note(5, 3, -1, 10) == entry(2, 5, online=3)
    assert journal.replayed(25) is None


def test_behind_the_replay_the_last_entry_goes_on_holding():
    journal = Journal(stored(entry(7, 0, online=1)), applied=5, until=30)
    assert journal.note(30, 1, -1, 10) is None
    assert journal.note(31, 2, -1, 10) == entry(8, 31, online=2)


def test_keys_are_used_again_after_more_entries_than_can_be_in_flight():
    keys = {entry(number, number).key() for number in range(3 * PLACES)}
    assert len(keys) == PLACES
    assert entry(0, 0).key() == entry(PLACES, 9).key()
