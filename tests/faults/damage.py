"""RocksDB's files damaged under a stopped worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults.outcome import Tally
from tests.faults.rows import Plan, Row
from tests.faults.world import World


def damage(here: World, plan: Plan, row: Row, kinds: Sequence[Callable[[Path], None]] = ()) -> Tally:
    """RocksDB's files are cut, overwritten or missing; a lock is left behind."""
    whole, kinds, before = Tally(), kinds or DAMAGES, here.deaths
    row.rounds = plan.rounds
    for number in range(row.rounds):
        here.load.send(plan.events)
        here.start()
        here.await_ready()
        here.drain()
        here.stop()
        for folder in here.folder().glob("p*"):
            kinds[number % len(kinds)](folder)
        here.load.send(200)
        whole += here.settle()
    row.note = f"{here.deaths - before} ends when a read found the damage, rebuilt by the restart"
    here.deaths = before
    return whole


def _sst(folder: Path) -> Path:
    return max(folder.glob("*.sst"), key=lambda path: path.stat().st_size)


def _cut_sst(folder: Path) -> None:
    path = _sst(folder)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwrite_sst(folder: Path) -> None:
    path = _sst(folder)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4)
        file.write(b"\xa5" * (path.stat().st_size // 4))


def overwrite_manifest(folder: Path) -> None:
    for path in folder.glob("MANIFEST-*"):
        path.write_bytes(b"nothing of the kind")


def _lose_sst(folder: Path) -> None:
    _sst(folder).unlink()


def _stale_lock(folder: Path) -> None:
    (folder / "LOCK").write_text("12345")


DAMAGES = (_overwrite_sst, _cut_sst, overwrite_manifest, _lose_sst, _stale_lock)
