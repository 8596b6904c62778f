"""A long recovery on a real broker: filled with compaction put off, and broken off in the middle."""

import asyncio

import msgspec
import pytest

from benchmarks.cluster import load
from streams import changelog
from streams.admin import create_topics
from streams.core.layout import last_offset_of, user_key
from streams.state_store import META_KEY, Meta, StateStore
from streams.topics import Topics
from tests.unit.streams.test_state_store import filled

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
PARTS = 12


@pytest.fixture
def settings(broker, make_settings):
    settings = make_settings(partitions=1)
    create_topics(settings)
    for part in range(PARTS):
        progress = META_KEY, msgspec.msgpack.encode(Meta(1000 * (part + 1), 7))
        load(settings, Topics(settings).states, [*filled(part), progress], 1)
    return settings


def recovered(path, settings):
    store = StateStore(path)
    try:
        read = asyncio.run(changelog.recover(store, Topics(settings).states, 0, settings))
        users = [user_key(f"{user}") for user in range(500 * (PARTS + 1))]
        return read, [last_offset_of(record) for record in store.get(users).values()], store.meta
    finally:
        store.close()


def test_a_store_is_filled_to_what_records_one_by_one_make_it(tmp_path, settings, monkeypatch):
    plain = recovered(tmp_path / "plain", settings)
    monkeypatch.setattr(changelog, "LONG", 1)
    calls = []
    monkeypatch.setattr(StateStore, "fill", lambda store, fill=StateStore.fill: (calls.append("fill"), fill(store)))
    assert recovered(tmp_path / "filled", settings) == plain
    assert plain[1] == [1000 * min(PARTS - 1, at // 500) for at in range(500 * (PARTS + 1))]
    assert recovered(tmp_path / "filled", settings) == (0, *plain[1:])  # nothing is read twice
    assert calls == ["fill"]


def test_a_recovery_broken_off_while_it_fills_goes_on_exactly(tmp_path, settings, monkeypatch):
    plain = recovered(tmp_path / "plain", settings)
    monkeypatch.setattr(changelog, "LONG", 1)
    taken, absorb = [], StateStore.absorb

    def breaks_off(store, records, offset):
        absorb(store, records, offset)
        taken.append(len(records))
        if len(taken) == 2:
            raise OSError("broken off")

    with monkeypatch.context() as broken:
        broken.setattr(StateStore, "absorb", breaks_off)
        with pytest.raises(OSError, match="broken off"):
            recovered(tmp_path / "filled", settings)
    read, ages, progress = recovered(tmp_path / "filled", settings)
    assert read == plain[0] - sum(taken) > 0
    assert (ages, progress) == plain[1:]
