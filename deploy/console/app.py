"""Puts the console together and serves it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from deploy.console.api import Api
from deploy.console.pages import STATIC, mount_pages
from deploy.console.routes import routes
from deploy.console.sources import Sources
from streams.config import ConfigError, Settings


def make_console(settings: Settings) -> FastAPI:
    """Return the application. One per process: NiceGUI's pages are global."""
    api = Api(settings)
    sources = Sources(settings, api)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(sources.run())
        yield
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await api.close()

    app = FastAPI(title="Freshloop console", openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    if settings.http_host in ("127.0.0.1", "localhost", "::1"):  # a foreign name that points here is no way in
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"])
    app.include_router(routes(api, sources, settings.data_dir))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    mount_pages(settings, api, sources)
    ui.run_with(app, title="Freshloop", dark=True, tailwind=False, show_welcome_message=False, reconnect_timeout=20)
    return app


def run_console(settings: Settings, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
      ConfigError: the port is taken.
    """
    with socket.socket(socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((settings.http_host, port))
        except OSError as error:
            raise ConfigError(f"the console cannot be served on port {port} (--port): {error.strerror}") from None
        app = make_console(settings)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[bound])
