"""`freshloop doctor`: looks at everything the parts need, and says what to mend."""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from deploy import broker
from deploy.scrape import scrape
from streams.admin import accepts, check_topics
from streams.config import ConfigError, Settings

GIB = 1 << 30
LEAST_DISK, GOOD_DISK = GIB // 2, 5 * GIB
GOOD_MEMORY = 2 * GIB
GOOD_FILES = 1024
PINNED = ("aiokafka", "faust-streaming", "tensorflow")

State = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `mend` says what to do; `note` works but should be known."""

    what: str
    state: State
    text: str
    mend: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at one thing after the other; nothing is changed."""
    for look in (_python, _packages, _disk, _memory, _files, _broker, _topics, _worker, _ports):
        try:
            yield from look(settings)
        except ConfigError as error:
            yield Finding(look.__name__.strip("_"), "bad", str(error))


def report(findings: list[Finding]) -> dict[str, Any]:
    """Return the findings, ready for JSON."""
    return {"healthy": healthy(findings), "findings": [asdict(finding) for finding in findings]}


def healthy(findings: list[Finding]) -> bool:
    """Tell whether nothing needs mending."""
    return all(finding.state != "bad" for finding in findings)


def _python(settings: Settings) -> Iterator[Finding]:
    text = f"Python {sys.version.split()[0]}"
    fits = (3, 11) <= sys.version_info[:2] <= (3, 12)
    yield (
        Finding("python", "ok", text)
        if fits
        else Finding("python", "bad", text, "use Python 3.11 or 3.12: RocksDB has no wheels for others")
    )


def _packages(settings: Settings) -> Iterator[Finding]:
    wrong = list(_differences())
    if wrong:
        yield Finding("packages", "bad", "; ".join(wrong), "run 'make setup'")
    else:
        yield Finding("packages", "ok", f"freshloop {importlib.metadata.version('freshloop')}, pinned packages fit")


def _differences() -> Iterator[str]:
    """Say which pinned packages are not there as pinned."""
    for needed in importlib.metadata.requires("freshloop") or ():
        name, _, version = needed.partition(";")[0].partition("==")
        name = name.partition("[")[0].strip()
        if name not in PINNED or not version:
            continue
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is missing"
            continue
        if found != version.strip():
            yield f"{name} is {found}, not {version.strip()}"


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("disk", "bad", f"{there} cannot be written to", "set FRESHLOOP_DATA_DIR to a folder of yours")
        return
    free = shutil.disk_usage(there).free
    text = f"{free / GIB:.1f} GiB free at {folder}, {_size(folder) / GIB:.2f} GiB used"
    mend = "free some space, or set FRESHLOOP_DATA_DIR to another disk"
    state: State = "ok" if free >= GOOD_DISK else "note" if free >= LEAST_DISK else "bad"
    yield Finding("disk", state, text, "" if state == "ok" else mend)


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue  # removed meanwhile
    return total


def _memory(settings: Settings) -> Iterator[Finding]:
    free = psutil.virtual_memory().available
    text = f"{free / GIB:.1f} GiB available"
    if free >= GOOD_MEMORY:
        yield Finding("memory", "ok", text)
    else:
        yield Finding("memory", "note", text, "the whole demo wants 2 GiB; set FRESHLOOP_BROKER_HEAP lower")


def _files(settings: Settings) -> Iterator[Finding]:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    text = f"{soft} open files allowed"
    fits = soft >= GOOD_FILES or soft == resource.RLIM_INFINITY
    yield Finding("files", "ok", text) if fits else Finding("files", "note", text, "run 'ulimit -n 4096' first")


def _broker(settings: Settings) -> Iterator[Finding]:
    found = broker.status(settings)
    if found.answers:
        kind = "embedded broker" if found.embedded else "cluster"
        yield Finding("broker", "ok", f"the {kind} answers at {found.bootstrap}")
    elif not found.embedded:
        yield Finding("broker", "bad", f"no broker answers at {found.bootstrap}", "check FRESHLOOP_BROKERS")
    elif found.running:
        yield Finding("broker", "bad", f"the broker (process {found.pid}) does not answer", "see broker/kafka.log")
    elif accepts(found.bootstrap, 1.0):
        text = f"port {settings.broker_port} is taken by something that is not our broker"
        yield Finding("broker", "bad", text, "set FRESHLOOP_BROKER_PORT, or FRESHLOOP_BROKERS if it is your Kafka")
    else:
        yield Finding("broker", "bad", "no broker runs", "run 'freshloop broker up'")


def _topics(settings: Settings) -> Iterator[Finding]:
    if not accepts(settings.bootstrap.split(",")[0], 1.0):
        return  # the broker's finding says it
    problems = check_topics(settings)
    if not problems:
        yield Finding("topics", "ok", "every topic fits")
        return
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    missing = all(problem.endswith("is missing") for problem in problems)
    mend = "run 'freshloop topics create'" if missing else "see 'freshloop topics check'"
    yield Finding("topics", "bad", f"{problems[0]}{more}", mend)


def _worker(settings: Settings) -> Iterator[Finding]:
    found = _health(settings, settings.http_port)
    if found is None:
        yield Finding("worker", "note", f"no worker answers on port {settings.http_port}", "run 'freshloop worker'")
        return
    text = (
        f"worker {found.get('worker')} has partitions {found.get('partitions')}, {found.get('videos')} fresh videos, "
        f"model version {found.get('model_version')}"
    )
    if found.get("status") == "ok":
        yield Finding("worker", "ok", text)
    else:
        yield Finding("worker", "note", f"{text}; it recovers its states", "wait a moment")
    owners = [one for one in found.get("workers", ()) if one.get("url")]
    if len(owners) < settings.partitions:
        text = f"{len(owners)} of {settings.partitions} partitions are announced by a worker with an API"
        yield Finding("owners", "note", text, "start the missing workers, or give each its own --http-port")


def _health(settings: Settings, port: int) -> dict[str, Any] | None:
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=3) as answer:
            found: dict[str, Any] = json.loads(answer.read())
    except (OSError, urllib.error.URLError, ValueError):
        return None
    return found if isinstance(found, dict) and "worker" in found else None


def _ports(settings: Settings) -> Iterator[Finding]:
    """Say which of the ports that the parts need belong to another program."""
    host = settings.http_host
    ours: dict[str, tuple[int, Callable[[], bool]]] = {
        "metrics_port": (settings.metrics_port, lambda: bool(scrape(settings.metrics_port, host))),
        "http_port": (settings.http_port, lambda: _health(settings, settings.http_port) is not None),
        "console_port": (settings.console_port, lambda: _is_console(settings)),
    }
    taken = False
    for name, (port, is_ours) in ours.items():
        if accepts(f"{host}:{port}", 1.0) and not is_ours():
            taken = True
            yield Finding("ports", "bad", f"port {port} is taken by another program", f"set FRESHLOOP_{name.upper()}")
    if not taken:
        yield Finding("ports", "ok", "the ports are free, or a part of Freshloop answers there")


def _is_console(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(
            f"http://{settings.http_host}:{settings.console_port}/healthz", timeout=3
        ) as answer:
            return b"freshloop-console" in answer.read(200)
    except (OSError, urllib.error.URLError):
        return False
