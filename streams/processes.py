"""What long-running commands share: logs and progress on stderr, metrics on a port, a signal that ends them."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server

from streams.clock import Clock
from streams.config import ConfigError, Settings

LINE_S = 10.0  # between two lines of progress where there is no terminal
REDRAWN_S = 0.2  # between two looks of the line on a terminal


def log_to_stderr(loglevel: str) -> None:
    """Log from this level on; kafka-python says more than errors at `debug` only.

    Raises:
      ConfigError: there is no such level.
    """
    level = logging.getLevelNamesMapping().get(loglevel.upper())
    if level is None:
        raise ConfigError(f"--loglevel {loglevel} is not one of debug, info, warning, error")
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.DEBUG if level == logging.DEBUG else logging.ERROR)


def serve_metrics(settings: Settings, port: int, registry: CollectorRegistry) -> None:
    """Answer Prometheus on a port, from now on.

    Raises:
      ConfigError: the port is taken or not allowed.
    """
    try:
        start_http_server(port, settings.http_host, registry)
    except OSError as error:
        raise ConfigError(f"metrics cannot be served on port {port} (--metrics-port): {error.strerror}") from None


class Stop:
    """Whether SIGTERM or SIGINT has come; made in the main thread."""

    def __init__(self) -> None:
        self._asked = False
        self.listen()

    def listen(self) -> None:
        """Take the signals; again, where a library has taken them meanwhile."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask)

    def __call__(self) -> bool:
        """Tell whether it has."""
        return self._asked

    def _ask(self, *_: object) -> None:
        self._asked = True


class ProgressLine:
    """Progress on stderr: one line that changes on a terminal, else a line now and then if there is news.

    Args:
      say: prints a line where there is no terminal.
    """

    def __init__(self, say: Callable[[str], None], clock: Clock) -> None:
        self._say, self._clock = say, clock
        self._terminal = sys.stderr.isatty()
        self._told, self._text = float("-inf"), ""

    def __call__(self, text: str) -> None:
        """Say how far it is."""
        now = self._clock.monotonic()
        if text == self._text or now - self._told < (REDRAWN_S if self._terminal else LINE_S):
            return
        self._told, self._text = now, text
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            self._say(text)

    def end(self) -> None:
        """Leave the line, so that what comes next begins a new one."""
        if self._terminal and self._text:
            print(file=sys.stderr)
