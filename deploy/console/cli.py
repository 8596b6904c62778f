"""The command `freshloop console`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streams.config import load_settings


def console(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the page. [default: setting]")] = None,
) -> None:
    """Serve the console: a feed to swipe, why each video is there, the loop's figures, and things to try.

    It asks the workers' API (FRESHLOOP_HTTP_PORT) and the parts' metrics (FRESHLOOP_METRICS_PORT); the demo starts it.
    """
    from deploy.console.app import run_console

    settings = load_settings()
    chosen = port or settings.console_port
    print(f"freshloop: the console is at http://{settings.http_host}:{chosen}; Ctrl-C stops it", file=sys.stderr)
    run_console(settings, chosen)
