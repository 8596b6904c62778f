from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
import rocksdb

from streams.core.events import EventType
from streams.core.feedback import show
from streams.core.layout import StateShape, chunk_key, last_offset_of, pack_chunk, user_key
from streams.core.pool import FreshPool
from streams.core.state import UserStates
from streams.state_store import DAMAGED, META_KEY, DamagedStore, Meta, StateStore, StoreError, open_store
from tests.fakes import event
from tests.faults.damage import DAMAGES
from tests.unit.core.packed import RECORD


def state(user, offset, shown=False):
    states = UserStates(StateShape(8, 4, 6), FreshPool(64, 10**9, 10))
    row = states.row(user)
    states.table["last_offset"][row] = offset
    if shown:
        entries = []
        show(entries, event(user, EventType.IMPRESSION, slate_id="0-1", position=0), 5)
        states.set_open(row, entries)
    return states.pack([user])[user_key(user)]


def meta(through):
    return META_KEY, msgspec.msgpack.encode(Meta(through, 7))


def offset(store, user):
    return last_offset_of(store.get([user_key(user)])[user_key(user)])


@pytest.fixture
def store(tmp_path):
    store = StateStore(tmp_path / "p0")
    yield store
    store.close()


def test_what_was_put_is_read_before_and_after_it_is_written(tmp_path):
    store = StateStore(tmp_path / "p0")
    store.put({user_key("a"): state("a", 3)}, Meta(4, 9, 5))
    assert offset(store, "a") == 3
    store.close()
    again = StateStore(tmp_path / "p0")
    assert (offset(again, "a"), again.meta) == (3, Meta(4, 9, 5))
    again.close()


def test_a_store_in_use_is_refused_in_a_sentence(store, tmp_path):
    with pytest.raises(StoreError, match="in use"):
        StateStore(tmp_path / "p0")


def test_a_zombies_record_is_passed_over_in_the_same_call_and_in_a_later_one(store):
    store.absorb([(user_key("a"), state("a", 9)), (user_key("a"), state("a", 2)), meta(10)], 3)
    assert offset(store, "a") == 9
    store.absorb([(user_key("b"), state("b", 12)), (user_key("a"), state("a", 5)), meta(8)], 6)
    assert (offset(store, "a"), offset(store, "b")) == (9, 12)
    assert store.meta == Meta(10, 7, 6)


def test_an_older_chunk_of_seen_videos_is_passed_over(store):
    key = chunk_key("a", 0)
    store.absorb([(key, pack_chunk(70, b"new.")), (user_key("b"), state("b", 90))], 2)
    store.absorb([(key, pack_chunk(10, b"old."))], 3)
    assert store.get([key])[key].endswith(b"new.")


def test_a_tombstone_removes(store):
    store.absorb([(user_key("a"), state("a", 1, shown=True))], 1)
    assert [user for user, _ in store.unlabelled()] == ["a"]
    store.absorb([(user_key("a"), None)], 2)
    assert store.get([user_key("a")]) == {}
    assert store.unlabelled() == []


def test_users_who_wait_for_a_label_are_found_again(tmp_path):
    store = StateStore(tmp_path / "p0")
    store.put({user_key("a"): state("a", 1, shown=True), user_key("b"): state("b", 2, shown=True)}, Meta(3))
    store.write()
    store.put({user_key("b"): state("b", 3)}, Meta(4))
    store.close()
    again = StateStore(tmp_path / "p0")
    assert [(user, len(entries)) for user, entries in again.unlabelled()] == [("a", 1)]
    again.close()


def test_a_zombies_record_is_passed_over_after_a_recovery_that_was_broken_off(tmp_path):
    store = StateStore(tmp_path / "p0")
    store.absorb([meta(10), (user_key("a"), state("a", 12))], 2)  # the progress that belongs to it is not there yet
    store.close()
    again = StateStore(tmp_path / "p0")
    again.absorb([(user_key("a"), state("a", 11))], 3)
    assert offset(again, "a") == 12
    again.close()


@pytest.fixture
def folder(tmp_path):
    store = StateStore(tmp_path / "p0")
    store.put({b"u%d" % number: RECORD for number in range(3_000)}, Meta(3_000, 7, 9))
    store.close()
    return tmp_path / "p0"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_store_is_never_read_wrongly(damage, folder):
    damage(folder)
    try:
        store = open_store(folder)
        found = store.get([b"u%d" % number for number in range(3_000)])
    except DamagedStore:  # a read found it; the next start begins anew
        store = open_store(folder)
        found = {}
    assert (store.meta, found) in ((Meta(3_000, 7, 9), dict.fromkeys(found, RECORD)), (Meta(), {}))
    assert len(found) in (0, 3_000)
    store.close()


def test_what_a_read_found_is_remembered(folder):
    (folder / DAMAGED).touch()
    with pytest.raises(DamagedStore, match="come back from the changelog"):
        StateStore(folder)


def test_a_full_disk_is_not_taken_for_damage(folder, monkeypatch):
    open_store(folder).close()
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise rocksdb.errors.RocksIOError("IO error: No space left on device While appending to file: MANIFEST-000009")

    monkeypatch.setattr(rocksdb, "DB", full)
    with pytest.raises(StoreError, match="is full: make room"):
        open_store(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_in_use_is_not_taken_for_damaged(folder):
    store = StateStore(folder)
    with pytest.raises(StoreError, match="in use by another worker") as caught:
        open_store(folder)
    assert not isinstance(caught.value, DamagedStore)
    store.close()


_KILLED_WHILE_FILLED = """
import os, sys
from pathlib import Path
from streams.state_store import StateStore
from tests.unit.streams.test_state_store import filled
store = StateStore(Path(sys.argv[1]))
store.fill()
for part in range(40):
    store.absorb(filled(part), 1000 * (part + 1))
os._exit(9)
"""


def filled(part):
    """Records of a part of a changelog of states of 4 kB; every key of a part comes again in the next one."""
    users = range(500 * part, 500 * part + 1000)
    return [(user_key(f"{user}"), _HEAD + (1000 * part).to_bytes(8, "little") + bytes(4000)) for user in users]


_HEAD = bytes(24)


def test_a_kill_while_a_store_is_filled_leaves_a_beginning_of_the_changelog_that_goes_on_exactly(tmp_path):
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_FILLED, str(tmp_path / "p0")], check=False)
    assert killed.returncode == 9
    store = StateStore(tmp_path / "p0")
    done = store.meta.changelog_offset // 1000
    assert 0 < done < 40  # what RocksDB had flushed of 160 MB, and no more
    assert offset(store, f"{500 * done + 400}") == 1000 * (done - 1)
    assert store.get([user_key(f"{500 * done + 500}")]) == {}
    store.fill()
    for part in range(done, 40):
        store.absorb(filled(part), 1000 * (part + 1))
    store.renew()
    users = [user_key(f"{user}") for user in range(500 * 41)]
    found = store.get(users)
    assert store.meta.changelog_offset == 40_000
    assert [last_offset_of(found[user]) for user in users] == [1000 * min(39, at // 500) for at in range(500 * 41)]
    store.close()


@pytest.mark.parametrize("again", [StateStore.fill, StateStore.renew])
def test_a_full_disk_while_the_store_is_opened_anew_is_no_damage(tmp_path, monkeypatch, again):
    store = StateStore(tmp_path / "p0")

    def full(*_):
        raise rocksdb.errors.RocksIOError("IO error: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(rocksdb, "DB", full)
        with pytest.raises(StoreError, match="make room") as caught:
            again(store)
    assert not isinstance(caught.value, DamagedStore)
    StateStore(tmp_path / "p0").close()
