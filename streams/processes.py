"""What long-running commands begin with: log lines on stderr, metrics on a port, and a signal that ends them."""

from __future__ import annotations

import logging
import signal
import sys

from prometheus_client import CollectorRegistry, start_http_server

from streams.config import ConfigError, Settings


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
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask)

    def __call__(self) -> bool:
        """Tell whether it has."""
        return self._asked

    def _ask(self, *_: object) -> None:
        self._asked = True
