"""Workers for the duration of another command, under the supervisor."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from deploy.scrape import scrape
from deploy.supervisor import ChildSpec, Supervisor
from streams.config import ConfigError, Settings, environment

_PORTS = 100  # looked at from the first metrics port on


@contextmanager
def running_workers(
    settings: Settings, count: int, say: Callable[[str], None] = lambda _: None
) -> Iterator[Callable[[], None]]:
    """Run workers named `replay-1`, ... until the end of the context.

    Args:
      say: gets a sentence when one ended and when it was started again.
    Yields: what must be called about twice a second; it starts again what ended.
    Raises:
      ConfigError: a worker cannot be started, or no port is free; one sentence.
    """
    with Supervisor(settings.data_dir / "logs") as supervisor:
        for number, port in enumerate(_free_ports(settings, count), start=1):
            name = f"replay-{number}"
            command = ("worker", "--name", name, "--metrics-port", str(port), "--http-port", "0", "--loglevel", "warn")
            argv = (sys.executable, "-m", "streams.main", *command)
            ready = partial(_serves, settings.http_host, port)
            supervisor.start(ChildSpec(name, argv, environment(settings), ready=ready, ready_timeout_s=90))
            say(f"started worker {name}; its log is {supervisor.log(name)}")

        def look_after() -> None:
            for event in supervisor.poll():
                why = supervisor.last_line(event.name) if event.code and event.code > 0 else ""
                ended = f"ended with code {event.code}{why}; see {supervisor.log(event.name)}"
                say(f"worker {event.name} {ended if event.kind == 'exited' else 'was started again'}")

        yield look_after


def _serves(host: str, port: int) -> bool:
    return scrape(port, host) is not None


def _free_ports(settings: Settings, count: int) -> list[int]:
    found: list[int] = []
    for port in range(settings.metrics_port, min(settings.metrics_port + _PORTS, 65536)):
        if len(found) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind((settings.http_host, port))
            except OSError:
                continue
            found.append(port)
    if len(found) < count:
        raise ConfigError(f"no {count} free ports from {settings.metrics_port} on; set FRESHLOOP_METRICS_PORT")
    return found
