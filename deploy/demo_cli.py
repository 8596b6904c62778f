"""The command `freshloop demo`."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import Console

from deploy.demo import DemoOptions, result, run
from deploy.view import View
from streams.config import load_settings

Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]


def demo(
    seconds: Annotated[float, typer.Option("--for", min=0, help="Stop after so many seconds; 0 goes on.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Stream workers that share the partitions.")] = 1,
    viewers: Annotated[int, typer.Option(min=10, help="Simulated viewers, each once in every arm.")] = 1000,
    rate: Annotated[float, typer.Option(min=1, help="Viewer events per second, over all arms.")] = 1000.0,
    seed: Annotated[int, typer.Option(help="Seed of the simulated world.")] = 1,
    clips: Annotated[bool, typer.Option("--clips", help="Videos show rendered clips, which ingest embeds.")] = False,
    console_page: Annotated[bool, typer.Option("--console/--no-console", help="Serve the console page.")] = True,
    products: Annotated[float, typer.Option(min=0, max=1, help="Share of the videos that are products.")] = 0.0,
    rooms: Annotated[float, typer.Option(min=0, max=1, help="Share of them that are live rooms.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Run the whole loop on this machine: broker, topics, workers, trainer, viewers, console; Ctrl-C stops all of it.

    Shows events and slates per second, the delay from event to slate, the model version, and the reward of the online
    model beside a frozen one, popular and random videos, each as its share of the way from random to the best possible.
    """
    console = Console(stderr=True)
    options = DemoOptions(workers, viewers, rate, seed, console_page, products, rooms, clips)
    found: dict[str, Any] = {}
    try:
        _watch(console, options, seconds or None, found)
    except KeyboardInterrupt:
        console.print("stopped")
    if not found:
        raise typer.Exit(130)
    if as_json:
        print(json.dumps(found))
    else:
        _tell(console, found)


def _watch(console: Console, options: DemoOptions, until: float | None, found: dict[str, Any]) -> None:
    """Run until the time is up or Ctrl-C; `found` always holds the newest result."""
    steps = run(options, load_settings(), lambda text: console.print(f"freshloop: {text}", highlight=False))
    with closing(steps), View(console, until) as show:
        started: float | None = None
        for one in steps:
            now = time.monotonic()
            started = now if started is None else started
            found.update(result(one, now - started))
            show(one, now - started)
            if until is not None and now - started >= until:
                return
            time.sleep(1.0 if until is None else min(1.0, max(0.0, until - (now - started))))


def _tell(console: Console, found: dict[str, Any]) -> None:
    share = ", ".join(f"{arm} {value:.2f}" for arm, value in found["reward_share"].items() if value is not None)
    console.print(
        f"{found['events']:,} events, {found['slates']:,} slates, {found['feedback']:,} feedback records, "
        f"{found['dead_letters']} dead letters; model versions {found['model_versions']}; "
        f"share of the way from random to oracle: {share or 'not measured yet'}",
        highlight=False,
    )
