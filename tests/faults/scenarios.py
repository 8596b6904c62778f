"""The scenarios: each injects its faults into a world, then drains and compares."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from deploy import broker as embedded
from streams.admin import delete_topics
from streams.config import Settings
from streams.failpoints import POINTS
from tests.faults.damage import damage, overwrite_manifest
from tests.faults.disks import broker_disk_full, state_disk_full
from tests.faults.leader import leader_lost
from tests.faults.outcome import Tally
from tests.faults.rows import Plan, Row, Scenario
from tests.faults.soak import soak
from tests.faults.versions import half_versions, poison, swaps, trainer_killed
from tests.faults.world import PATIENCE_S, VIDEOS, World, world


def run(name: str, broker: Settings, folder: Path, plan: Plan, mutant: str = "", **overrides: Any) -> Row:
    """Run a scenario in a world of its own."""
    scenario, own = SCENARIOS[name]
    started = time.monotonic()
    row = Row(f"{name} without {mutant}" if mutant else name, plan.rounds)
    with world(broker, folder, plan.seed, **(own | overrides)) as here:
        here.mutant, here.broker = mutant or here.mutant, broker
        found = scenario(here, plan, row)
        row.lost, row.doubled, row.differs = asdict(found).values()
        row.died, row.events = row.died + here.deaths, max(row.events, here.load.count)
    row.seconds = round(time.monotonic() - started, 1)
    return row


def kills(here: World, plan: Plan, row: Row) -> Tally:
    """SIGKILL at random moments of a start and of the work; every other time the data folder is wiped as well."""
    rng = random.Random(plan.seed)
    for number in range(plan.rounds):
        here.load.send(plan.events)
        here.start()
        if rng.random() < 0.8:
            here.await_ready()
        time.sleep(rng.uniform(0.0, 0.6))
        here.kill()
        if number % 2:
            here.wipe()
    return here.settle()


def failpoints(here: World, plan: Plan, row: Row, points: Sequence[str] = POINTS) -> Tally:
    """A kill at every point between two steps, each with traffic before and behind."""
    rng, row.rounds = random.Random(plan.seed), len(points)
    for point in points:
        count = rng.randint(1, 3) if POINTS.index(point) < POINTS.index("rebalance") else rng.randint(1, 2)
        count = 1 if point in ("rebalance", "positions-found", "journal-written") else count
        here.load.send(plan.events)
        if point == "journal-written":  # only what is new needs an entry, so nothing old may be left to do
            here.start()
            here.drain()
            here.stop()
        here.start(failpoint=f"{point}:{count}", mutant="small-parts")
        if point == "journal-written":
            here.await_ready()
            here.publish_videos((VIDEOS,))
            here.load.send(plan.events)
        here.await_end()
    return here.settle()


def mixed(here: World, plan: Plan, row: Row) -> Tally:
    """A few of all faults of one worker, one after the other; the short form of several scenarios."""
    here.more_to_come = True
    for part, rounds in ((broker_paused, 1), (swaps, 1), (ends_mid_batch, 2)):
        part(here, replace(plan, rounds=rounds), row)
    damage(here, plan, row, (overwrite_manifest,))  # the kind that is found without reading every state
    failpoints(here, plan, row, ("recovery-part", "changelog-part"))
    here.more_to_come, row.rounds = False, 7
    return here.settle()


LAST = ("batch-applied", "slates-published", "changelog-part", "changelog-published", "store-written", "acknowledged",
        "committed")  # fmt: skip


def last_batch(here: World, plan: Plan, row: Row) -> Tally:
    """A kill within the last batch, and no event comes after it."""
    whole = Tally()
    for number in range(plan.rounds):
        here.load.send(plan.events)
        if number == 0 or plan.events > 400:
            here.start()
            here.await_ready()
            here.drain()
            here.stop()
        here.load.send(120)
        here.start(failpoint=LAST[(number + 2) % len(LAST)], mutant=here.mutant or "small-parts")
        here.await_end()
        whole += here.settle()
    return whole


def broker_paused(here: World, plan: Plan, row: Row) -> Tally:
    """The broker stands still for 0.6 s again and again, and the worker is killed right after a commit."""
    java = psutil.Process(embedded.status(here.broker).pid)
    for number in range(plan.rounds):
        here.load.send(plan.events)
        here.start(failpoint=f"committed:{2 + number % 3}", mutant=here.mutant)
        with _meanwhile(0.5, lambda: _pause(java)):
            here.await_end(timeout_s=PATIENCE_S)
    here.mutant = ""
    return here.settle()


def _pause(process: psutil.Process) -> None:
    process.suspend()
    time.sleep(0.6)
    process.resume()


@contextmanager
def _meanwhile(every_s: float, act: Callable[[], object]) -> Iterator[None]:
    """Act again and again, with a pause between; what that raises is raised here."""
    done = threading.Event()

    def again() -> None:
        while not done.wait(every_s):
            act()

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(again)
        try:
            yield
        finally:
            done.set()
        acting.result()


def two_workers(here: World, plan: Plan, row: Row) -> Tally:
    """A second worker joins, then leaves or is killed, under load.

    Whoever is left has all partitions within the session timeout and 5 s, and the lag is gone within 30 s.
    """
    slow = takeover = 0.0
    most = here.settings.session_timeout_s + 5.0
    here.start("w1")
    here.await_ready("w1")
    for number in range(plan.rounds):
        with _meanwhile(0.25, lambda: here.load.send(max(400, plan.events // 8) // 4)):
            here.start("w2")
            here.await_ready("w2")
            time.sleep(1.0)
            started = time.monotonic()
            if number % 2:
                here.stop("w2")
            else:
                here.kill("w2")
            here.await_owner("w1", most)
            takeover = max(takeover, time.monotonic() - started)
        started = time.monotonic()
        row.lost += not here.drain(30)
        slow = max(slow, time.monotonic() - started)
    here.load.send(max(0, plan.rounds * plan.events - here.load.count))
    row.note = f"slowest takeover {takeover:.1f} s, slowest drain {slow:.1f} s"
    here.drain()
    here.stop("w1")
    return here.settle() + Tally(lost=row.lost)


def zombie(here: World, plan: Plan, row: Row) -> Tally:
    """A worker is stopped in the middle of a batch, loses its session, and wakes when another has gone on."""
    points = ["slates-published", "batch-applied", "changelog-part", "store-written"]
    if here.mutant:
        points.remove("changelog-part")  # only where publications are cut into small parts do all have several
    woken = 0
    for number in range(plan.rounds):
        here.load.send(plan.events)
        here.start("w1", f"{points[number % len(points)]}:2:stop", here.mutant or "small-parts")
        _await_stopped(here.supervisor.running()["w1"])
        here.start("w2", mutant=here.mutant)
        here.await_ready("w2")
        here.load.send(plan.events)
        here.drain()
        here.supervisor.kill("w1", signal.SIGCONT)
        time.sleep(2.0)
        if not here.running("w1"):
            woken += 1
            here.await_end("w1")
            here.start("w1", mutant=here.mutant)
        here.load.send(plan.events // 4)
        here.drain(30)
        here.stop("w1")
        here.stop("w2")
    row.note = f"{woken} of {plan.rounds} ended when they woke"
    mutant, here.mutant = here.mutant, ""
    found = here.settle("w2")
    here.mutant = mutant
    return found


def _await_stopped(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline, "the worker never came to its failpoint"
        time.sleep(0.1)


def ends_mid_batch(here: World, plan: Plan, row: Row) -> Tally:
    """An exception in the middle of a batch ends the process; SIGTERM in the middle of one is obeyed within 30 s."""
    for number in range(plan.rounds):
        here.load.send(plan.events)
        if number % 2:
            here.start(failpoint=f"{LAST[number % 3]}:2:raise", mutant="small-parts")
            here.await_end()
        else:
            here.start()
            here.await_ready()
            time.sleep(0.1)
            started = time.monotonic()
            here.kill(sig=signal.SIGTERM)
            took = time.monotonic() - started
            row.note = f"SIGTERM took {took:.1f} s"
            row.died += took > 30
    return here.settle()


def wiped_topics(here: World, plan: Plan, row: Row) -> Tally:
    """Kafka's topics are deleted and made again while the data folder stays."""
    whole, worlds = Tally(), [here]
    for _ in range(plan.rounds):
        here.load.send(plan.events)
        here.start()
        here.await_ready()
        here.drain()
        here.stop()
        delete_topics(here.settings)
        count, mutant = here.load.count, here.mutant
        here = World(here.settings, here.supervisor, plan.seed)
        worlds.append(here)
        here.mutant = mutant
        here.load.count = count
        here.load.send(plan.events)
        whole += here.settle()
    row.events = here.load.count
    row.died += sum(one.deaths for one in worlds[1:])  # `run` counts those of the first
    return whole


def broker_restarts(here: World, plan: Plan, row: Row) -> Tally:
    """The broker is restarted under load, cleanly and hard; the worker may end and is started again."""
    here.start()
    here.await_ready()
    for number in range(plan.rounds):
        here.load.send(plan.events)
        if number % 2:
            psutil.Process(embedded.status(here.broker).pid).kill()
            time.sleep(0.5)
        else:
            embedded.down(here.broker)
        embedded.up(here.broker)
        here.load.send(200)
        row.lost += not here.drain()
    here.stop()
    row.note, here.deaths = f"{here.deaths} restarts of the worker", 0
    return here.settle() + Tally(lost=row.lost)


#: By name: what is done, and the settings it needs.
SCENARIOS: dict[str, tuple[Scenario, dict[str, Any]]] = {
    "kills": (kills, {}),
    "mixed": (mixed, {"poll_records": 100, "commit_interval_s": 0.1, "arms": {"frozen": "frozen"}}),
    "failpoints": (failpoints, {"poll_records": 100}),
    "last-batch": (last_batch, {}),
    "broker-paused": (broker_paused, {"commit_interval_s": 0.1}),
    "two-workers": (two_workers, {}),
    "zombie": (zombie, {"poll_records": 100}),
    "broker-restarts": (broker_restarts, {}),
    "leader-lost": (leader_lost, {}),
    "ends-mid-batch": (ends_mid_batch, {"poll_records": 100}),
    "poison": (poison, {"poll_records": 100}),
    "damage": (damage, {}),
    "wiped-topics": (wiped_topics, {}),
    "state-disk-full": (state_disk_full, {}),
    "broker-disk-full": (broker_disk_full, {}),
    "half-versions": (half_versions, {}),
    "trainer-killed": (
        trainer_killed,
        {"train_examples": 500, "train_minimum": 100, "train_seconds": 2.0, "gate_margin": 1.0},
    ),
    "soak": (soak, {}),
    "swaps": (swaps, {"poll_records": 100, "arms": {"frozen": "frozen"}, "frozen_after": 2000}),
}

#: Guards, and the scenario that must turn red without them.
CONTROLS = {
    "offset-filter": "last-batch",
    "acknowledgement": "broker-paused",
    "epoch": "zombie",
    "journal": "swaps",
}
