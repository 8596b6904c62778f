"""The command `freshloop models`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from model.choose import choose, one_back, serving
from model.listing import describe, details, notes, numbers, summary, table
from model.registry import Registry
from model.topic import Snapshot, read
from streams.admin import require_topics
from streams.config import ConfigError, Settings, load_settings

models_app = typer.Typer(no_args_is_help=True, help="Model versions: which there are, and which one serves.")

Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the change.")]
Version = Annotated[int, typer.Argument(min=0, help="Version number; 0 is made from the seed.")]


@models_app.command("list")
def list_versions(
    last: Annotated[int, typer.Option(min=0, help="Show only so many of the newest versions; 0 shows all.")] = 20,
    as_json: Json = False,
) -> None:
    """Show versions, newest first: what they learned from, how they were judged, and which one serves.

    Log-loss is the version's own on feedback held back from it, beside that of the version before it. States: serving;
    on trial (serves the canary's share of the users); frozen (serves the arm that compares); accepted (can be
    promoted); refused (by the gate); gone (weights no longer kept); unsound.
    """
    settings, snapshot = _read()
    registry = snapshot.registry
    if as_json:
        print(json.dumps(summary(registry, settings.frozen_after)))
    else:
        console = Console(highlight=False)
        shown = numbers(registry)[::-1][: last or None]
        console.print(table(registry, settings.frozen_after, shown))
        for note in notes(registry, shown):
            console.print(note, markup=False)


@models_app.command()
def show(version: Version, as_json: Json = False) -> None:
    """Show one version: its manifest, and whether all of it is there and sound."""
    settings, snapshot = _read()
    registry = snapshot.registry
    if version and version not in registry.manifests:
        known = ", ".join(map(str, sorted(registry.manifests))) or "only 0"
        raise ConfigError(f"there is no version {version}; there are {known}")
    if as_json:
        print(json.dumps(describe(registry, version, settings.frozen_after)))
    else:
        Console(highlight=False).print(details(registry, version, settings.frozen_after))


@models_app.command()
def promote(version: Version, reason: Reason = "promoted by hand", as_json: Json = False) -> None:
    """Put a version into service. Workers swap between two batches; the trainer goes on from it."""
    _choose(lambda registry: version, reason, as_json)


@models_app.command()
def rollback(
    version: Annotated[int | None, typer.Argument(min=0, help="An older version; the parent when not given.")] = None,
    reason: Reason = "rolled back by hand",
    as_json: Json = False,
) -> None:
    """Go back to an older version, by default the parent of the one in service."""

    def target(registry: Registry) -> int:
        if version is None:
            return one_back(registry)
        if version > serving(registry):
            raise ConfigError(
                f"version {version} is newer than {serving(registry)}, which serves; "
                f"use 'freshloop models promote {version}'"
            )
        return version

    _choose(target, reason, as_json)


def _read() -> tuple[Settings, Snapshot]:
    settings = load_settings()
    require_topics(settings)
    snapshot = read(settings)
    for refusal in snapshot.refusals:
        print(f"freshloop: a record of the models topic is refused: {refusal}", file=sys.stderr)
    return settings, snapshot


def _choose(target: Callable[[Registry], int], reason: str, as_json: bool) -> None:
    settings = load_settings()
    require_topics(settings)
    done = choose(settings, target, reason)
    if as_json:
        print(json.dumps(asdict(done)))
    elif done.changed:
        print(f"version {done.version} serves as of epoch {done.epoch}; before it {done.was}")
    else:
        print(f"version {done.version} serves already")
