"""Half an hour of load with rebalances and swaps: memory and file handles stay flat."""

from __future__ import annotations

import time

import numpy as np
import psutil

from tests.faults.outcome import Tally
from tests.faults.rows import Plan, Row
from tests.faults.world import VIDEOS, World

PER_SECOND = 250
TURN_S = 10.0  # between two samples
SETTLED = 1 / 3  # of the time; caches and pools have filled by then
MB_A_MINUTE = 1.0
HANDLES = 30


def soak(here: World, plan: Plan, row: Row) -> Tally:
    """One worker stays; another comes and goes, versions and videos come into service, and events never end."""
    here.start("w1")
    here.await_ready("w1")
    samples: list[tuple[float, float, int]] = []
    started = time.monotonic()
    turn = 0
    while time.monotonic() - started < 60 * plan.minutes:
        turn += 1
        if turn % 12 == 3:
            here.start("w2")
        if turn % 12 == 9:
            here.stop("w2") if turn % 24 == 9 else here.kill("w2")
        if turn % 6 == 0:
            here.publish_model(turn // 6)
            here.publish_videos((VIDEOS + turn,))
        until = started + turn * TURN_S
        while time.monotonic() < until:
            here.load.send(PER_SECOND // 2)
            time.sleep(max(0.0, min(0.5, until - time.monotonic())))
        here.outcome.read()  # before compaction takes what a newer record of the same key took the place of
        process = psutil.Process(here.supervisor.running()["w1"])
        samples.append(((time.monotonic() - started) / 60, process.memory_info().rss / 2**20, process.num_fds()))
    row.lost += not here.drain(60)
    here.stop("w1")
    if here.running("w2"):
        here.stop("w2")
    late = [one for one in samples if one[0] > samples[-1][0] * SETTLED]
    minutes, memory, handles = (np.array(column, float) for column in zip(*late, strict=True))
    slope = float(np.polyfit(minutes, memory, 1)[0])
    spread = int(handles.max() - handles.min())
    row.rounds = turn
    row.note = f"{plan.minutes:.0f} minutes: {slope:+.2f} MB/min, {memory[-1]:.0f} MB, file handles within {spread}"
    row.died += slope > MB_A_MINUTE or spread > HANDLES
    return here.settle() + Tally(lost=row.lost)
