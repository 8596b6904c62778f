from __future__ import annotations

import pytest

from streams.state_store import DAMAGED, DamagedStore, Meta, StateStore, StoreError, open_store
from tests.faults.scenarios import DAMAGES
from tests.unit.core.packed import RECORD


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


def test_a_folder_in_use_is_not_taken_for_damaged(folder):
    store = StateStore(folder)
    with pytest.raises(StoreError, match="in use by another worker") as caught:
        open_store(folder)
    assert not isinstance(caught.value, DamagedStore)
    store.close()
