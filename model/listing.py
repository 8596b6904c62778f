"""Versions as a person or a program reads them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import msgspec
from rich.table import Table

from model.choose import serving
from model.manifest import Evaluation, Manifest
from model.registry import Registry, initial_version


def summary(registry: Registry, frozen_after: int) -> dict[str, Any]:
    """Return all versions and what serves, ready for JSON; versions are in ascending order."""
    frozen = registry.first_at_least(frozen_after)
    named = registry.named
    return {
        "name": registry.name,
        "serving": serving(registry),
        "epoch": named.epoch if named else 0,
        "named": named.version if named else 0,
        "reason": named.reason if named else "",
        "frozen": frozen.number if frozen else None,
        "versions": [describe(registry, number) for number in (0, *sorted(registry.manifests))],
    }


def describe(registry: Registry, number: int) -> dict[str, Any]:
    """Return one version, ready for JSON: its manifest, whether it serves, and why it could not."""
    manifest = registry.manifests.get(number) or initial_version(registry.name, registry.config).manifest
    facts = msgspec.structs.asdict(manifest)
    del facts["features"]  # long, and the same in every version that fits
    return facts | {
        "config": msgspec.structs.asdict(manifest.config),
        "trained_through_offsets": {str(partition): at for partition, at in manifest.trained_through_offsets.items()},
        "evaluation": _finite(msgspec.structs.asdict(manifest.evaluation)),
        "serving": serving(registry) == number,
        "why_not": registry.why_not(number),
    }


def _finite(facts: dict[str, Any]) -> dict[str, Any]:
    """Replace numbers that JSON does not have."""
    return {
        name: None if any(isinstance(one, float) and not math.isfinite(one) for one in _each(value)) else value
        for name, value in facts.items()
    }


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def table(registry: Registry, frozen_after: int) -> Table:
    """Return all versions as a table, newest first."""
    frozen = registry.first_at_least(frozen_after)
    shown = Table(title=f"Versions of {registry.name}", title_justify="left", box=None, pad_edge=False)
    for heading in ("version", "parent", "trained through", "log-loss", "incumbent"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for heading in ("made", "serves"):
        shown.add_column(heading, no_wrap=True)
    shown.add_column("verdict", overflow="fold")
    for number in (*sorted(registry.manifests, reverse=True), 0):
        manifest = registry.manifests.get(number)
        mark = "serving" if serving(registry) == number else "frozen" if frozen and frozen.number == number else ""
        if manifest is None:
            shown.add_row("0", "", "0", "", "", "", mark, "made from the seed")
            continue
        found = manifest.evaluation
        shown.add_row(
            str(number), str(manifest.parent), f"{manifest.trained_through:,}", loss(found.candidate_loss),
            loss(found.incumbent_loss), made(manifest), mark, verdict(registry, number, found),
        )  # fmt: skip
    return shown


def verdict(registry: Registry, number: int, found: Evaluation) -> str:
    """Return what became of a version, in words."""
    if not found.accepted:
        return found.reason if found.reason.startswith("refused") else f"refused: {found.reason or 'no reason given'}"
    why_not = registry.why_not(number)
    if why_not is None:
        return "accepted"
    manifest = registry.manifests[number]
    if manifest.chunks and not registry.chunks.get(number):
        return "accepted; weights no longer kept"
    return f"cannot serve: {why_not}"


def loss(value: float | None) -> str:
    """Return a loss for a person; empty when it was not measured."""
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"


def made(manifest: Manifest) -> str:
    """Return when a version was made, in local time."""
    return datetime.fromtimestamp(manifest.created_ms / 1000).strftime("%Y-%m-%d %H:%M:%S")


def details(registry: Registry, number: int) -> Table:
    """Return one version as a table of facts."""
    facts = describe(registry, number)
    found = registry.manifests.get(number)
    evaluation = facts["evaluation"]
    offsets = facts["trained_through_offsets"]
    config = facts["config"]
    interval = evaluation["interval"]
    rows = [
        ("version", str(number)),
        ("parent", str(facts["parent"]) if number else "none: made from the seed"),
        ("made", made(found) if found else ""),
        ("serves", "yes" if facts["serving"] else "no"),
        ("can serve", "yes" if facts["why_not"] is None else f"no ({facts['why_not']})"),
        ("head", f"{config['head']}, H={config['hidden_size']}, E={config['embedding_size']}"),
        ("weights", f"{facts['bytes']:,} bytes in {facts['chunks']} chunks, SHA-256 {facts['sha256'] or 'none'}"),
        ("trained through", f"{facts['trained_through']:,} feedback records"),
        ("next offsets", ", ".join(f"{partition}: {at}" for partition, at in sorted(offsets.items()))),
        ("log-loss", f"{loss(evaluation['candidate_loss'])} against {loss(evaluation['incumbent_loss'])}"),
        ("difference", f"95 % from {interval[0]:+.4f} to {interval[1]:+.4f}" if interval else ""),
        ("judged on", f"{evaluation['examples']:,} examples of {evaluation['users']:,} users"),
        ("verdict", ("accepted" if evaluation["accepted"] else "refused") + f" {evaluation['reason']}".rstrip()),
    ]
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in rows:
        shown.add_row(name, value)
    return shown
