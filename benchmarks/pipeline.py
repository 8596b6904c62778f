"""`freshloop bench pipeline`: one worker against the limit and against other stream processors, the same job each.

Contestants take turns, a round each; every one reads the same events from their beginning, with states of its own that
start empty. The rate is taken outside of them, from the end offsets of the slates' topic, after `WARM` slates.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cluster import Outputs, cluster, environment, load, outputs
from benchmarks.job import PARTITIONS, TOP, encode, make_events, make_videos
from streams.admin import create_topics
from streams.config import ConfigError, Settings
from streams.topics import Topics

ROOT = Path(__file__).resolve().parent.parent
PEERS_PYTHON = ROOT / ".peers" / "bin" / "python"
WARM = 10_000
START_S = 60.0
POLL_S = 0.05
WORKER = {"poll_records": "2000", "slate_size": str(TOP), "pool_capacity": "16384"}


@dataclass
class Contestant:
    """What takes part: how its process is started, given the settings and a consumer group."""

    name: str
    command: Callable[[Settings, str], list[str]]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """One turn of a contestant: events per second of wall time, and its own CPU time per event (µs)."""

    rate: float
    cpu_us: float


def contestants(names: Sequence[str]) -> list[Contestant]:
    """Return contestants by name.

    Raises:
      ConfigError: an unknown name, or the peers are not installed.
    """
    known = {
        "limit": Contestant("limit", lambda s, g: _module(sys.executable, "benchmarks.limit", s, g)),
        "freshloop": Contestant("freshloop", worker_command, WORKER),
        "quixstreams": Contestant("quixstreams", lambda s, g: _module(PEERS_PYTHON, "benchmarks.peer_quix", s, g)),
        "bytewax": Contestant("bytewax", lambda s, g: _module(PEERS_PYTHON, "benchmarks.peer_bytewax", s, g)),
    }
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"no contestant {unknown[0]!r}; there are {', '.join(known)}")
    if {"quixstreams", "bytewax"} & set(names) and not PEERS_PYTHON.exists():
        raise ConfigError(
            "the peers are not installed; run 'make peers', or leave them out with --only limit,freshloop"
        )
    return [known[name] for name in names]


def _module(python: Any, module: str, settings: Settings, group: str) -> list[str]:
    arguments = {"brokers": settings.bootstrap, "prefix": settings.topic_prefix, "group": group}
    arguments["folder"] = str(settings.data_dir / "bench" / group)
    return [str(python), "-m", module, *(part for name, value in arguments.items() for part in (f"--{name}", value))]


def worker_command(settings: Settings, group: str, port: int = 0) -> list[str]:
    """Return the command of the worker under test; `port` is that of its metrics, 0 for any."""
    one = str(port or free_port())
    return [sys.executable, "-m", "streams.main", "worker", "--name", "bench", "--metrics-port", one]


def free_port() -> int:
    """Return a port that nobody uses now."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(names: Sequence[str], rounds: int, events: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON.

    Args:
      events: how many are there to be read; a turn ends when they are used up,
      seconds: or after this long, measured from the end of the warm-up.
    """
    taking_part = contestants(names)
    turns: dict[str, list[Turn]] = {one.name: [] for one in taking_part}
    with cluster(partitions=PARTITIONS) as settings:
        topics = Topics(settings)
        made = make_events(events)
        load(settings, topics.events, [(one.user_id.encode(), encode(one)) for one in made], PARTITIONS)
        videos = make_videos(now_ms=time.time_ns() // 1_000_000)
        load(settings, topics.videos, [(one.video_id.encode(), encode(one)) for one in videos], 1)
        with outputs(settings, topics.recommendations, PARTITIONS) as counter:
            for number in range(rounds):
                for place in range(len(taking_part)):
                    one = taking_part[(number + place) % len(taking_part)]
                    turn = _turn(one, settings, f"r{number}", counter, events, seconds)
                    turns[one.name].append(turn)
                    say(f"round {number + 1}: {one.name} {turn.rate:,.0f} events/s, {turn.cpu_us:.1f} µs CPU an event")
    return _result(turns, events)


def _turn(one: Contestant, settings: Settings, turn: str, counter: Outputs, events: int, seconds: float) -> Turn:
    group = f"{one.name}-{turn}"
    mine = settings.model_copy(update={"app_id": group})
    create_topics(mine)
    folder = settings.data_dir / "bench" / group
    folder.mkdir(parents=True, exist_ok=True)
    env = environment(mine, data_dir=str(folder), app_id=group, **one.env)
    with open(folder / "log", "wb") as log:
        child = subprocess.Popen(
            one.command(mine, group), env=os.environ | env | {"PYTHONPATH": str(ROOT)}, cwd=folder, stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        return _measure(child, counter, events, seconds)
    except TimeoutError as error:
        tail = (folder / "log").read_text(errors="replace")[-2000:]
        raise ConfigError(f"{one.name} made no slates in time ({error}); the end of its log:\n{tail}") from None
    finally:
        _stop(child)
        shutil.rmtree(folder, ignore_errors=True)


def _measure(child: subprocess.Popen[bytes], counter: Outputs, events: int, seconds: float) -> Turn:
    base = counter.total()
    deadline = time.monotonic() + START_S
    while (done := counter.total() - base) < WARM:
        if time.monotonic() > deadline or child.poll() is not None:
            raise TimeoutError(f"{done} slates")
        time.sleep(POLL_S)
    begun, first, cpu = time.monotonic(), done, _cpu(child)
    while done < events * 0.97 and time.monotonic() - begun < seconds:
        time.sleep(POLL_S)
        done = counter.total() - base
        if child.poll() is not None:
            raise TimeoutError(f"it ended after {done} slates")
    passed = time.monotonic() - begun
    return Turn((done - first) / passed, (_cpu(child) - cpu) / (done - first) * 1e6)


def _cpu(child: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(child.pid).cpu_times()
    return float(times.user + times.system)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGKILL)  # states are thrown away
    child.wait()


def _result(turns: dict[str, list[Turn]], events: int) -> dict[str, Any]:
    rates = {name: statistics.median(turn.rate for turn in found) for name, found in turns.items()}
    result: dict[str, Any] = {name: round(rate) for name, rate in rates.items()}
    spread = {name: [round(min(t.rate for t in f)), round(max(t.rate for t in f))] for name, f in turns.items()}
    result |= {
        "spread": spread,
        "cpu_us_per_event": {name: round(statistics.median(t.cpu_us for t in f), 1) for name, f in turns.items()},
        "rounds": min(len(found) for found in turns.values()),
        "events": events,
    }
    if {"limit", "freshloop"} <= rates.keys():
        ratios = [a.rate / b.rate for a, b in zip(turns["freshloop"], turns["limit"], strict=True)]
        result["ratio_to_limit"] = round(statistics.median(ratios), 3)
        result["ratio_to_limit_spread"] = [round(min(ratios), 3), round(max(ratios), 3)]
        cpu = result["cpu_us_per_event"]
        result["cpu_ratio_to_limit"] = round(cpu["limit"] / cpu["freshloop"], 3)
    peers = [rate for name, rate in rates.items() if name in ("quixstreams", "bytewax")]
    if peers and "freshloop" in rates:
        result["ratio_to_best_peer"] = round(rates["freshloop"] / max(peers), 3)
    return result
