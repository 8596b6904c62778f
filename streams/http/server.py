"""Serves the API in the worker's own loop, so that a request sees the states between two batches."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from streams.config import ConfigError, Settings


class _Server(uvicorn.Server):
    """Leaves the signals to Faust."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(settings: Settings, port: int) -> socket.socket:
    """Return a socket at the API's port, before anything else starts.

    Raises:
      ConfigError: the port is taken or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.http_host, port))
    except OSError as error:
        found.close()
        raise ConfigError(f"the API cannot be served on port {port} (--http-port): {error.strerror}") from None
    return found


def url_of(settings: Settings, port: int) -> str:
    """Return the URL under which other workers reach this one."""
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    return settings.http_advertise or f"http://{host}:{port}"


async def serve(app: Any, bound: socket.socket) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, limit_concurrency=256,
        timeout_keep_alive=30, timeout_graceful_shutdown=2, h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
    await _Server(config).serve(sockets=[bound])
