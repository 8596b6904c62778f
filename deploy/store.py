"""The embedded broker's folder: layout, ownership mark, server properties and the record of the running process.

<data_dir>/broker/
  cluster.json        ours, and the cluster id; `formatted` turns true when formatting is complete
  server.properties   written at every start
  kafka.log           what Java says
  broker.pid          the process, with its creation time
  logs/               Kafka's own
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from streams.config import ConfigError, Settings

CLOCK_SLACK_S = 5.0  # a creation time is derived from the boot time, which moves when the clock is set


class BrokerError(ConfigError):
    """The embedded broker cannot do what was asked; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Layout:
    """Paths of one embedded broker."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """Return the layout under the settings' data folder."""
        return cls(settings.data_dir.absolute() / "broker")

    @property
    def mark(self) -> Path:
        """Says that the folder is ours."""
        return self.root / "cluster.json"

    @property
    def properties(self) -> Path:
        """Kafka's configuration."""
        return self.root / "server.properties"

    @property
    def log(self) -> Path:
        """What Java writes."""
        return self.root / "kafka.log"

    @property
    def pid(self) -> Path:
        """The running process."""
        return self.root / "broker.pid"

    @property
    def logs(self) -> Path:
        """Kafka's data."""
        return self.root / "logs"

    @property
    def meta(self) -> Path:
        """Kafka's own mark in its data."""
        return self.logs / "meta.properties"


def cluster_id(layout: Layout) -> str | None:
    """Return the cluster id of a formatted folder, None when there is nothing yet or formatting was cut short.

    Raises:
      BrokerError: the folder is not ours, or is damaged.
    """
    if not layout.mark.exists():
        if layout.root.is_dir() and any(layout.root.iterdir()):
            raise BrokerError(f"{layout.root} holds something else; set FRESHLOOP_DATA_DIR to another folder")
        return None
    mark = _read_json(layout.mark)
    identity = mark.get("cluster_id")
    if not isinstance(identity, str):
        raise BrokerError(f"{layout.mark} is damaged; 'freshloop broker wipe' starts anew, without the data")
    if not mark.get("formatted"):
        return None
    _check_meta(layout, identity)
    return identity


def _check_meta(layout: Layout, identity: str) -> None:
    try:
        lines = layout.meta.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise BrokerError(
            f"{layout.meta} is missing or damaged; put it back, or start anew with 'freshloop broker wipe'"
        ) from None
    found = dict(line.partition("=")[::2] for line in lines if "=" in line).get("cluster.id")
    if found != identity:
        raise BrokerError(
            f"{layout.logs} belongs to cluster {found}, not {identity}; "
            "set FRESHLOOP_DATA_DIR to another folder or start anew with 'freshloop broker wipe'"
        )


def format_store(layout: Layout, format_logs: Callable[[str], None]) -> str:
    """Format the folder under a new random cluster id, and return the id.

    What an interrupted formatting left is removed: no broker has run on it. The mark is written before and after.

    Args:
      format_logs: runs Kafka's formatter for the id it is given.
    """
    identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    shutil.rmtree(layout.logs, ignore_errors=True)
    _write_mark(layout, identity, formatted=False)
    format_logs(identity)
    _write_mark(layout, identity, formatted=True)
    return identity


def _write_mark(layout: Layout, identity: str, formatted: bool) -> None:
    _write(layout.mark, json.dumps({"cluster_id": identity, "formatted": formatted}) + "\n")


def prepare_folder(layout: Layout) -> None:
    """Make the folder.

    Raises:
      BrokerError: it cannot be made or written, or its path cannot be a Kafka folder.
    """
    if "," in str(layout.logs):
        raise BrokerError(f"{layout.root} has a comma, which separates folders in Kafka; set FRESHLOOP_DATA_DIR")
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        writable = os.access(layout.root, os.W_OK | os.X_OK)
    except OSError as error:
        raise BrokerError(f"{layout.root} cannot be made ({error.strerror}); set FRESHLOOP_DATA_DIR") from None
    if not writable:
        raise BrokerError(f"{layout.root} cannot be written; mend its rights or set FRESHLOOP_DATA_DIR")


def write_properties(layout: Layout, settings: Settings, changes: Mapping[str, str] | None = None) -> None:
    """Write Kafka's configuration, with `changes` to what it is otherwise."""
    made = server_properties(layout, settings) | dict(changes or {})
    lines = (f"{key}={_escaped(value)}" for key, value in made.items())
    _write(layout.properties, "\n".join(lines) + "\n")
    layout.properties.chmod(0o600)  # it may hold a password


def server_properties(layout: Layout, settings: Settings) -> dict[str, str]:
    """Return Kafka's configuration of a single node for a laptop: loopback, KRaft, internal topics kept small."""
    broker = f"PLAINTEXT://127.0.0.1:{settings.broker_port}"
    internal = {
        f"{owner}.{key}": value
        for owner in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        for key, value in {"replication.factor": "1", "num.partitions": "4"}.items()
    }
    return internal | {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{settings.controller_port}",
        "listeners": f"{broker},CONTROLLER://127.0.0.1:{settings.controller_port}",
        "advertised.listeners": broker,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(layout.logs),
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "message.max.bytes": "2097152",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "offsets.retention.minutes": "43200",
        "log.cleaner.backoff.ms": "3000",
        "log.cleaner.dedupe.buffer.size": "16777216",  # the default takes a quarter of the heap
        "log.cleaner.io.max.bytes.per.second": "67108864",  # unbounded, compaction takes a core for seconds
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "4",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",  # after a crash the controller waits so long for the old process
    }


def _escaped(value: str) -> str:
    """Escape a value for a Java properties file, which is read as Latin-1."""
    value = value.replace("\\", "\\\\")
    return "".join(one if " " <= one <= "~" else "".join(f"\\u{unit:04x}" for unit in _utf16(one)) for one in value)


def _utf16(character: str) -> list[int]:
    raw = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


def record_process(layout: Layout, pid: int) -> None:
    """Write down which process is the broker, with its creation time, so that no other process is ever taken for it."""
    _write(layout.pid, json.dumps({"pid": pid, "created": psutil.Process(pid).create_time()}) + "\n")


def running_process(layout: Layout) -> psutil.Process | None:
    """Return the running broker of this folder, or None; a stale record, or a recycled pid, counts as none."""
    if not layout.pid.exists():
        return None
    record = _read_json(layout.pid)
    pid, created = record.get("pid"), record.get("created")
    if not isinstance(pid, int) or not isinstance(created, (int, float)):
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < CLOCK_SLACK_S and str(layout.properties) in process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return process if same and alive else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    """Replace a file at once: a reader, or a crash, finds the old text or the new one."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, "utf-8")
    os.replace(draft, path)
