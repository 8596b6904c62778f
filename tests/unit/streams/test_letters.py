"""What a dead letter says of itself, and which can be sent again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from streams.intake import take_in
from streams.letter_parts import MAX_LETTER_BYTES
from streams.letters import chosen, letter_of
from streams.main import main


def record(value, key=b"u", offset=7):
    return SimpleNamespace(
        topic="events", partition=2, offset=offset, timestamp=1_000, key=key, value=value, headers=()
    )  # fmt: skip


def written(source, number=3):
    """The letter of a record, as it is read back."""
    ((_, out),) = take_in([source]).dead
    return letter_of(
        SimpleNamespace(offset=number, timestamp=5, key=out.key, value=out.value, headers=list(out.headers))
    )


def test_a_letter_says_where_it_came_from_and_has_the_original():
    letter = written(record(b"\xc1 noise"))
    assert (letter.number, letter.reason, letter.topic) == (3, "not-decodable", "events")
    assert (letter.partition, letter.offset, letter.whole) == (2, 7, True)
    assert (letter.key, letter.value) == (b"u", b"\xc1 noise")
    assert json.loads(json.dumps(letter.as_json()))["value"] == "wSBub2lzZQ=="


def test_a_letter_that_was_cut_is_not_whole():
    assert not written(record(b"\xa5" * (MAX_LETTER_BYTES + 1))).whole


def test_headers_that_are_missing_or_no_numbers():
    letter = letter_of(SimpleNamespace(offset=1, timestamp=2, key=None, value=None, headers=[("offset", b"x")]))
    assert (letter.reason, letter.offset, letter.value) == ("", -1, b"")


def test_choosing():
    found = [written(record(value), number) for number, value in enumerate((b"\xc1", b"", b"\xc1", b""))]
    assert [one.number for one in chosen(iter(found), reasons=["empty"])] == [1, 3]
    assert [one.number for one in chosen(iter(found), numbers=[0, 3])] == [0, 3]
    assert [one.number for one in chosen(iter(found), newest=1)] == [3]


def test_a_replay_of_nothing_in_particular_is_a_mistake(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["freshloop", "dead-letters", "replay"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "freshloop: say which letters: --reason, --number or --all\n"
