"""Users under another name, and secrets that are never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from streams.codecs import encode
from streams.config import ConfigError, Settings, environment, load_settings
from streams.intake import take_in
from streams.pseudonyms import is_pseudonym, pseudonyms
from tests.fakes import event
from tests.unit.streams.test_intake import record

KEY = "correct horse battery staple"


def settings(key=KEY, **fields):
    return Settings(pseudonym_key=SecretStr(key), **fields)


def test_without_a_key_a_user_is_known_by_its_id():
    assert pseudonyms(Settings())("ann@online") == "ann@online"


def test_a_pseudonym_depends_on_the_key_and_the_id_alone_and_is_taken_as_it_is():
    rename = pseudonyms(settings())
    name = rename("ann")
    assert is_pseudonym(name)
    assert "ann" not in name
    assert pseudonyms(settings())("ann") == rename(name) == name
    assert len({name, rename("bob"), pseudonyms(settings(KEY + "!"))("ann")}) == 3


@pytest.mark.parametrize(("user", "suffix"), [("u1@online", "@online"), ("u1@mine", "@mine"), ("ann@example.com", "")])
def test_the_suffix_of_an_arm_stays_and_no_other(user, suffix):
    name = pseudonyms(settings(arms={"mine": "popular"}))(user)
    assert is_pseudonym(name)
    assert name[len("p-") + 32 :] == suffix


@given(st.text(min_size=1, max_size=128))
def test_any_id_gets_a_pseudonym_that_is_a_valid_id(user):
    name = pseudonyms(settings())(user)
    assert is_pseudonym(name)
    assert len(name) <= 128


def test_a_secret_shows_nowhere_and_goes_to_no_child_by_name(monkeypatch):
    monkeypatch.setenv("FRESHLOOP_PSEUDONYM_KEY", KEY)
    monkeypatch.setenv("FRESHLOOP_HTTP_TOKEN", KEY)
    found = load_settings()
    assert found.pseudonym_key.get_secret_value() == KEY
    assert KEY not in f"{found!r} {found} {found.model_dump(mode='json')} {environment(found)}"
    assert "FRESHLOOP_PSEUDONYM_KEY" not in environment(found)


def test_a_secret_may_be_a_file(monkeypatch, tmp_path):
    (tmp_path / "freshloop_pseudonym_key").write_text(f"{KEY}\n")
    monkeypatch.setenv("FRESHLOOP_SECRETS_DIR", str(tmp_path))
    assert load_settings().pseudonym_key.get_secret_value() == KEY
    monkeypatch.setenv("FRESHLOOP_SECRETS_DIR", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="FRESHLOOP_SECRETS_DIR names"):
        load_settings()


def test_a_short_key_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("FRESHLOOP_PSEUDONYM_KEY", "hunter2")
    with pytest.raises(ConfigError, match="at least 16 characters") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_an_event_under_a_raw_id_is_refused_and_its_letter_does_not_hold_the_id():
    raw = record(encode(event("ann@home")), key=b"ann@home")
    name = pseudonyms(settings())("bob")
    good = record(encode(event(name)), key=name.encode())
    assert take_in([raw]).dead == []
    intake = take_in([raw, good], renamed=True)
    assert [found.user_id for _, _, found in intake.events] == [name]
    ((reason, letter),) = intake.dead
    assert reason == "raw-user-id"
    assert b"ann" not in repr(letter).encode()
