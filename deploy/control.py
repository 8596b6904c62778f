"""What a person asks of a running demo, as files in its data folder: no port is opened for it.

`control/*.json` are requests, written whole and taken in order; `demo.json` is what runs, kept up to date.
"""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from deploy.supervisor import Supervisor, SupervisorError

Act = Literal["kill", "pause", "resume", "jump"]
STATUS = "demo.json"
_SIGNALS: dict[str, signal.Signals] = {
    "kill": signal.SIGKILL,
    "pause": signal.SIGSTOP,
    "resume": signal.SIGCONT,
    "jump": signal.SIGUSR1,
}


@dataclass(frozen=True)
class Ask:
    """Do something to a part: `kill`, `pause`, `resume`; or let the tastes `jump` (of the simulator)."""

    act: Act
    part: str


def ask(folder: Path, request: Ask) -> None:
    """Leave a request for the demo whose data folder this is."""
    box = folder / "control"
    box.mkdir(parents=True, exist_ok=True)
    name = f"{time.monotonic_ns():020d}-{uuid.uuid4().hex[:8]}"
    hidden = box / f".{name}"
    hidden.write_text(json.dumps({"act": request.act, "part": request.part}), "utf-8")
    os.replace(hidden, box / f"{name}.json")


def taken(folder: Path) -> Iterator[Ask]:
    """Yield the requests that are there and remove them; what is no request is dropped."""
    for path in sorted((folder / "control").glob("*.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(path.read_text("utf-8"))
            if found["act"] in get_args(Act):
                yield Ask(found["act"], str(found["part"]))
        path.unlink(missing_ok=True)


def status(folder: Path) -> dict[str, Any]:
    """Return what runs, empty when no demo does."""
    with suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((folder / STATUS).read_text("utf-8"))
        return found
    return {}


@dataclass
class Control:
    """Carries out requests on the parts of a demo.

    Attributes:
      paused: parts that stand still.
      restarts: how often each part was started again.
    """

    folder: Path
    supervisor: Supervisor
    paused: set[str] = field(default_factory=set)
    restarts: dict[str, int] = field(default_factory=dict)

    def look(self, ports: dict[str, int]) -> None:
        """Carry out what was asked since the last look, then say what runs.

        Args:
          ports: metrics port by part.
        """
        for request in taken(self.folder):
            self._carry_out(request)
        running = self.supervisor.running()
        self.paused &= set(running)
        names = dict.fromkeys([*ports, *running])
        parts = [
            {
                "name": name,
                "pid": running.get(name),
                "metrics_port": ports.get(name),
                "paused": name in self.paused,
                "restarts": self.restarts.get(name, 0),
            }
            for name in names
        ]
        hidden = self.folder / f".{STATUS}"
        hidden.write_text(json.dumps({"parts": parts}), "utf-8")
        os.replace(hidden, self.folder / STATUS)

    def _carry_out(self, request: Ask) -> None:
        part = "simulate" if request.act == "jump" else request.part
        with suppress(SupervisorError):  # it does not run (any more)
            self.supervisor.kill(part, _SIGNALS[request.act])
            if request.act == "pause":
                self.paused.add(part)
            else:
                self.paused.discard(part)

    def close(self) -> None:
        """Let everything go on, so that it can end in order, and say that nothing runs."""
        for part in sorted(self.paused):
            with suppress(SupervisorError):
                self.supervisor.kill(part, signal.SIGCONT)
        (self.folder / STATUS).unlink(missing_ok=True)
