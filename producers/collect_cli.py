"""The command `freshloop collect`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from producers.cluster import Cluster
from producers.collect import Collector, TopicLog
from producers.cursor import CursorStore
from producers.mapping import load_mapping
from producers.paging import Pages
from producers.sending import Sender
from streams.admin import require_topics
from streams.clock import Clock
from streams.config import load_settings
from streams.pseudonyms import pseudonyms
from streams.topics import Topics


def collect(
    mapping: Annotated[Path, typer.Argument(help="TOML file: the API, its pages, and how items become records.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on after the last page.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks, with --follow.")] = 30.0,
    pages: Annotated[int, typer.Option(min=0, help="Stop after so many pages; 0 goes to the last.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")] = False,
) -> None:
    """Collect videos, events or profiles from a paged JSON API into their topic, each once.

    The cursor is kept in the data folder: a command that was stopped or killed goes on where it was. The API is asked
    at the mapping's rate at most, and again with growing pauses when it fails. FRESHLOOP_COLLECT_TOKEN is sent as a
    bearer token.
    """
    settings, found = load_settings(), load_mapping(mapping)
    require_topics(settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    topic = getattr(Topics(settings), found.target)

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise KeyboardInterrupt

    with (
        CursorStore(settings.data_dir / "collect" / f"{found.name}.sqlite") as store,
        closing(Cluster(settings)) as cluster,
        closing(Sender(settings)) as sender,
        closing(Pages(found, settings.collect_token.get_secret_value(), Clock(), pause, _say)) as source,
    ):
        collector = Collector(
            found, source, TopicLog(cluster, topic, sender, found.name), store, _say, pseudonyms(settings)
        )
        with suppress(KeyboardInterrupt):
            collector.recover()
            _run(collector, follow, every, pages, pause)
    result = collector.result()
    words = ", ".join(f"{name} {value}" for name, value in result.items())
    print(json.dumps(result) if as_json else words)


def _run(collector: Collector, follow: bool, every: float, pages: int, pause: Callable[[float], None]) -> None:
    """Collect until the last page, so many `pages`, or an interrupt, which comes while it pauses or between pages."""
    while True:
        more = collector.step()
        if pages and collector.collected.pages >= pages:
            return
        if not more and not follow:
            return
        pause(0.0 if more else every)


def _say(text: str) -> None:
    print(f"freshloop: {text}", file=sys.stderr, flush=True)
