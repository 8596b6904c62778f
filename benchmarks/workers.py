"""`freshloop bench workers`: events per second of one worker, and of two that share the partitions, on this machine.

A turn has topics and states of its own. The events come all at once, when every worker is ready and has partitions; the
rate is taken outside of them, from the end offsets of the slates' topic, between a fifth and nine tenths of the events.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

import psutil

from benchmarks.cluster import Outputs, cluster, environment, load, outputs
from benchmarks.driving import backlog, wait_for
from benchmarks.job import PARTITIONS, encode, make_videos
from benchmarks.pipeline import WORKER, free_port, worker_command
from streams.config import Settings
from streams.topics import Topics

FROM, TO = 0.2, 0.9  # shares of the events between which the rate is taken
POLL_S = 0.02
Processes = list["subprocess.Popen[bytes]"]


class Turn(NamedTuple):
    """Events per second, and how many cores the workers and the whole machine kept busy meanwhile."""

    rate: float
    workers: float
    machine: float


def run(counts: Sequence[int], rounds: int, events: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON."""
    turns: dict[int, list[Turn]] = {count: [] for count in counts}
    for number in range(rounds):
        for place in range(len(counts)):
            count = counts[(number + place) % len(counts)]
            turn = _turn(count, f"{number}-{count}", events)
            turns[count].append(turn)
            say(
                f"round {number + 1}: {count} workers {turn.rate:,.0f} events/s on {turn.workers:.2f} cores, "
                f"{turn.machine:.2f} busy in all"
            )
    rows = [
        {
            "workers": count,
            "events_per_second": round(median(one.rate for one in found)),
            "spread": [round(min(one.rate for one in found)), round(max(one.rate for one in found))],
            "cores_of_workers": round(median(one.workers for one in found), 2),
            "cores_busy": round(median(one.machine for one in found), 2),
        }
        for count, found in turns.items()
    ]
    rates = [float(row["events_per_second"]) for row in rows]  # type: ignore[arg-type]  # a row has lists too
    ratio = {"ratio_of_last_to_first": round(rates[-1] / rates[0], 3)}
    return {"rows": rows, **ratio, "cores": os.cpu_count(), "events": events, "rounds": rounds}


def _turn(count: int, name: str, events: int) -> Turn:
    with cluster(partitions=PARTITIONS, app_id=f"workers-{name}") as settings:
        topics = Topics(settings)
        videos = make_videos(now_ms=time.time_ns() // 1_000_000)
        load(settings, topics.videos, [(one.video_id.encode(), encode(one)) for one in videos], 1)
        made = backlog(events)
        with _workers(settings, count) as children, outputs(settings, topics.recommendations, PARTITIONS) as counter:
            load(settings, topics.events, made, PARTITIONS)
            return _measured(children, counter, events)


@contextmanager
def _workers(settings: Settings, count: int) -> Iterator[Processes]:
    """Yield workers of one group that are ready and have all partitions between them, none of them none."""
    folder = settings.data_dir / "bench" / settings.app_id
    children: Processes = []
    ports = [free_port() for _ in range(count)]
    try:
        for number, port in enumerate(ports):
            own = folder / str(number)
            own.mkdir(parents=True, exist_ok=True)
            command = [*worker_command(settings, "bench"), "--http-port", str(port)]
            command[command.index("--name") + 1] = f"bench{number}"
            env = os.environ | environment(settings, data_dir=str(own), **WORKER)
            with open(own / "log", "wb") as log:
                children.append(subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT))
        wait_for(lambda: _shared([_partitions(port) for port in ports]), "a worker")
        yield children
    finally:
        for child in children:
            child.send_signal(signal.SIGKILL)  # states are thrown away
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _shared(found: Sequence[Sequence[int]]) -> bool:
    return all(found) and sum(map(len, found)) == PARTITIONS


def _partitions(port: int) -> list[int]:
    """Return the partitions of a worker; none while it is not ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2.0) as answer:
            found: list[int] = json.load(answer)["partitions"]
            return found
    except (OSError, urllib.error.URLError):
        return []


def _measured(children: Processes, counter: Outputs, events: int) -> Turn:
    wait_for(lambda: counter.total() >= FROM * events, "a worker")
    begun, first, cpu = time.monotonic(), counter.total(), _cpu(children)
    psutil.cpu_percent()
    while (done := counter.total()) < TO * events and time.monotonic() - begun < 120.0:
        time.sleep(POLL_S)
    seconds = time.monotonic() - begun
    busy = psutil.cpu_percent() / 100.0 * (os.cpu_count() or 1)
    return Turn((done - first) / seconds, (_cpu(children) - cpu) / seconds, busy)


def _cpu(children: Processes) -> float:
    times = [psutil.Process(child.pid).cpu_times() for child in children]
    return float(sum(one.user + one.system for one in times))
