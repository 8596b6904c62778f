"""Full disks, under the states and under the broker: small file systems in memory, which only root may mount."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy import broker as embedded
from tests.conftest import free_ports
from tests.faults.outcome import Tally
from tests.faults.rows import Plan, Row
from tests.faults.world import World

SKIPPED = "skipped: only root may mount a small disk"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a size."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_mount() -> bool:
    """Tell whether a disk can be mounted here."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


def _fill(folder: Path, name: str = "ballast") -> Path:
    """Fill a disk to its last byte; return the file that does it."""
    path = folder / name
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65_536)
    except OSError:
        pass
    return path


def state_disk_full(here: World, plan: Plan, row: Row) -> Tally:
    """The disk of the states fills up under load; a worker closes on it, cannot start, and goes on once there is room.

    A running worker needs its disk only when several megabytes of states have come together, and may go on until then.
    What was committed by the end is compared with the folder that it left, and with none.
    """
    if not can_mount():
        row.note = SKIPPED
        return Tally()
    ends = 0
    with small_disk(here.settings.data_dir / "workers", "64m") as disk:
        for _ in range(plan.rounds):
            here.start()
            here.await_ready()
            here.load.send(plan.events // 2)
            ballast = [_fill(disk)]
            here.load.send(plan.events // 2)
            time.sleep(2.0)
            here.stop_or_end()  # what it closes with finds no room either
            ballast.append(_fill(disk, "more"))  # its end may have made some
            here.start()
            ends += _ends_by_itself(here)
            here.kill()
            for path in ballast:
                path.unlink()
        found = here.settle()
    row.note = f"{ends} of {plan.rounds} starts on a full disk ended"
    assert ends == plan.rounds, f"a full disk went unnoticed: {row.note}"
    here.deaths = 0
    return found


def _ends_by_itself(here: World, timeout_s: float = 30.0) -> bool:
    """Tell whether a worker ends within a time."""
    deadline = time.monotonic() + timeout_s
    while here.running() and time.monotonic() < deadline:
        here.supervisor.poll(0.1)
    return not here.running()


def broker_disk_full(here: World, plan: Plan, row: Row) -> Tally:
    """The disk of the broker fills up under load: it ends, and what was acknowledged before is there afterwards."""
    if not can_mount():
        row.note = SKIPPED
        return Tally()
    port, controller = free_ports(2)
    folder = here.settings.data_dir / "disk"
    settings = here.settings.model_copy(
        update={"brokers": "", "broker_port": port, "controller_port": controller, "data_dir": folder}
    )
    ended = 0
    with small_disk(folder, "400m") as disk:
        embedded.up(settings)
        try:
            beside = {"data_dir": here.settings.data_dir / "beside", "brokers": settings.bootstrap}
            there = World(settings.model_copy(update=beside), here.supervisor, plan.seed)
            there.load.options = {"retries": 0, "delivery_timeout_ms": 15_000, "request_timeout_ms": 5_000}
            there.start()
            there.await_ready()
            for _ in range(plan.rounds):
                there.load.send(plan.events)
                ballast = _fill(disk)
                there.load.try_send(plan.events)
                ended += not embedded.status(settings).running
                ballast.unlink()
                embedded.down(settings)
                embedded.up(settings)
                there.load.send(200)
                row.lost += not there.drain(120)
            there.stop()
            row.note = f"the broker ended {ended} times, the worker {there.deaths} times"
            row.events = there.load.count
            return there.settle() + Tally(lost=row.lost)
        finally:
            embedded.down(settings)
