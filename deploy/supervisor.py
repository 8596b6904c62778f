"""Runs the parts of Freshloop on one machine as child processes: starts, watches, restarts and stops them.

Every child has a process group and a log file of its own. Children are stopped in reverse order of their start, and
end with the supervisor even when it is killed (Linux). Nothing here reads the wall clock; times are monotonic seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, Self

from streams.config import ConfigError

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
STEADY_S = 60.0  # a child that ran this long starts again without delay
LOG_BYTES = 20 << 20  # beyond this a log is put aside at the next start
_TICK_S = 0.05
_TETHER = Path(__file__).with_name("tether.py")


class SupervisorError(ConfigError):
    """A child cannot be run; the message is one sentence that names it and its log."""


@dataclass(frozen=True)
class ChildSpec:
    """What to run. `env` is added to the inherited environment.

    `restart`: `always` starts it again whenever it ends, `never` leaves it. `ready` is asked every 50 ms until it
    returns true; `depends` are names that must have been started before.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    restart: Literal["always", "never"] = "always"
    ready: Callable[[], bool] | None = None
    ready_timeout_s: float = 60.0
    stop_timeout_s: float = 15.0
    depends: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChildEvent:
    """What happened to a child. `code` is its exit code, negative for a signal; `restarts` counts all so far."""

    name: str
    kind: Literal["exited", "restarted"]
    code: int | None = None
    restarts: int = 0


@dataclass
class _Child:
    spec: ChildSpec
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0
    backoff: float = FIRST_BACKOFF_S
    restart_at: float | None = None  # set while it waits to be started again
    exited: bool = False


class Supervisor:
    """Runs child processes; a context manager that stops them all at its end.

    Within it SIGTERM raises `SystemExit(143)` and SIGINT `KeyboardInterrupt`, and leaving it stops the children. Start
    children from a thread that lives as long as they shall: the kernel's tie is to the thread.
    """

    def __init__(self, logs: Path) -> None:
        """Args: logs: folder for `<name>.log`; made when needed."""
        self._logs = logs
        self._children: dict[str, _Child] = {}  # in order of start
        self._previous: object = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, _terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            if self._previous is not None:
                signal.signal(signal.SIGTERM, self._previous)  # type: ignore[arg-type]  # what signal.signal returned

    def start(self, spec: ChildSpec) -> int:
        """Start a child, wait until it is ready, and return its process id.

        Raises:
          SupervisorError: the name is in use, a dependency was not started, it ended early or was not ready in time.
        """
        missing = [name for name in spec.depends if name not in self._children]
        if missing:
            raise SupervisorError(f"{spec.name} needs {missing[0]}, which was not started")
        if (known := self._children.get(spec.name)) is not None:
            if known.spec.restart == "never":
                self._look(known, time.monotonic())  # it may have ended and nobody has polled since
            if not known.exited:
                raise SupervisorError(f"{spec.name} runs already")
            del self._children[spec.name]  # the new one comes last in the order of starts
        child = _Child(spec, self._spawn(spec), time.monotonic())
        self._children[spec.name] = child
        if spec.ready is not None:
            self._wait_ready(child)
        return child.process.pid

    def poll(self, timeout_s: float = 0.0) -> list[ChildEvent]:
        """Look after the children and return what happened: ends, and restarts that were due.

        Args:
          timeout_s: wait this long for the first event; 0 returns at once.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            events = [event for child in list(self._children.values()) for event in self._look(child, now)]
            if events or now >= deadline:
                return events
            time.sleep(min(_TICK_S, deadline - now))

    def running(self) -> dict[str, int]:
        """Return names and process ids of the children that run now, in order of their start."""
        return {n: c.process.pid for n, c in self._children.items() if not c.exited and c.process.poll() is None}

    def log(self, name: str) -> Path:
        """Return the log file of a child."""
        return self._logs / f"{name}.log"

    def last_line(self, name: str) -> str:
        """Return the last line of a child's log in brackets, after a space; empty when there is none."""
        return _last_line(self.log(name))

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a child, as a fault would, and return its process id; the restart policy applies.

        Raises:
          SupervisorError: no such child runs.
        """
        pid = self.running().get(name)
        if pid is None:
            raise SupervisorError(f"{name} does not run")
        os.kill(pid, sig)
        return pid

    def stop(self, name: str | None = None) -> None:
        """Stop one child, or all in reverse order: SIGTERM, then SIGKILL after its timeout. It is not restarted.

        A second Ctrl-C meanwhile kills the rest at once.
        """
        names = [name] if name is not None else list(reversed(self._children))
        try:
            for one in names:
                child = self._children.pop(one, None)
                if child is not None:
                    self._stop(child)
        except BaseException:
            for child in self._children.values() if name is None else ():
                _signal_group(child.process, signal.SIGKILL)
                child.process.wait()
            self._children.clear()
            raise

    def _stop(self, child: _Child) -> None:
        process = child.process
        try:
            if process.poll() is None:
                process.terminate()
                process.wait(child.spec.stop_timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal_group(process, signal.SIGKILL)  # the child, if it clings to life, and what it left behind
            process.wait()

    def _spawn(self, spec: ChildSpec) -> subprocess.Popen[bytes]:
        path = self.log(spec.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            os.replace(path, path.with_suffix(".log.1"))
        env = [f"{name}={value}" for name, value in spec.env.items()]
        command = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *env, "--", *spec.argv]
        with path.open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _wait_ready(self, child: _Child) -> None:
        spec, deadline = child.spec, time.monotonic() + child.spec.ready_timeout_s
        while spec.ready is not None and not spec.ready():
            code = child.process.poll()
            if code is None and time.monotonic() < deadline:
                time.sleep(_TICK_S)
                continue
            self.stop(spec.name)
            what = f"was not ready after {spec.ready_timeout_s:.0f} s" if code is None else f"ended with code {code}"
            raise SupervisorError(f"{spec.name} {what}{_last_line(self.log(spec.name))}; see {self.log(spec.name)}")

    def _look(self, child: _Child, now: float) -> list[ChildEvent]:
        if child.exited:
            return []
        name = child.spec.name
        if child.restart_at is not None:
            if now < child.restart_at:
                return []
            child.process, child.started, child.restart_at = self._spawn(child.spec), now, None
            child.restarts += 1
            return [ChildEvent(name, "restarted", None, child.restarts)]
        code = child.process.poll()
        if code is None:
            return []
        _signal_group(child.process, signal.SIGKILL)
        if child.spec.restart == "never":
            child.exited = True
        else:
            steady = now - child.started >= STEADY_S
            child.restart_at = now if steady else now + child.backoff
            child.backoff = FIRST_BACKOFF_S if steady else min(2 * child.backoff, MAX_BACKOFF_S)
        return [ChildEvent(name, "exited", code, child.restarts)]


def _signal_group(process: subprocess.Popen[bytes], sig: signal.Signals) -> None:
    """Signal the group that a child leads; its number stays reserved while a member lives."""
    with suppress(ProcessLookupError, PermissionError):  # macOS answers so for a group of zombies
        os.killpg(process.pid, sig)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return f" ({lines[-1].strip()[:200]})" if lines else ""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
