"""The command `freshloop backup`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from streams.config import Settings, load_settings

backup_app = typer.Typer(no_args_is_help=True, help="User states, models and videos in one file, and back.")

Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]


@backup_app.command("save")
def save(
    file: Annotated[Path, typer.Argument(help="The file to write; one that is there is replaced when all went well.")],
    as_json: Json = False,
) -> None:
    """Write user states, models and videos to a file, while workers run or not.

    It holds what users did, as the topics do: keep it as you keep them, and restore no user that was erased since.
    """
    from streams.backup import save as run
    from streams.clock import Clock

    _do(lambda settings: run(settings, file, Clock().now_ms(), _say), as_json)


@backup_app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="What `backup save` wrote.")],
    as_json: Json = False,
) -> None:
    """Publish a backup into topics that are empty, on this or another cluster, with any number of partitions.

    Start the workers afterwards. States keep what a user likes and has seen, and begin at the start of the new topics.
    """
    from streams.backup import restore as run

    _do(lambda settings: run(settings, file, _say), as_json)


def _do(work: Callable[[Settings], dict[str, int]], as_json: bool) -> None:
    from streams.admin import require_topics

    settings = load_settings()
    require_topics(settings)
    counts = work(settings)
    print(json.dumps(counts) if as_json else ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))


def _say(text: str) -> None:
    print(f"freshloop: {text}", file=sys.stderr, flush=True)
