"""Versions as a person or a program reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.table import Table

from model.choose import serving, why_not
from model.manifest import Manifest
from model.registry import Registry, initial_version

#: What a version is, in one word or two.
SERVING, FROZEN, ACCEPTED, REFUSED, GONE, UNSOUND = "serving", "frozen", "accepted", "refused", "gone", "unsound"
TRIAL = "on trial"


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
        "canary": named.canary if named else 0,
        "canary_share": named.share if named else 0.0,
        "frozen": frozen.number if frozen else None,
        "versions": [describe(registry, number, frozen_after) for number in numbers(registry)],
    }


def numbers(registry: Registry) -> list[int]:
    """Return the numbers of all versions, ascending; 0 is always there."""
    return [0, *sorted(registry.manifests)]


def describe(registry: Registry, number: int, frozen_after: int) -> dict[str, Any]:
    """Return one version, ready for JSON: its manifest, what became of it, and why it could not serve."""
    manifest = _manifest(registry, number)
    facts = msgspec.structs.asdict(manifest)
    del facts["features"]  # long, and the same in every version that fits
    return facts | {
        "config": msgspec.structs.asdict(manifest.config),
        "trained_through_offsets": {str(partition): at for partition, at in manifest.trained_through_offsets.items()},
        "evaluation": {name: _finite(value) for name, value in msgspec.structs.asdict(manifest.evaluation).items()},
        "privacy": msgspec.to_builtins(manifest.privacy),
        "standard": msgspec.to_builtins(manifest.standard),
        "state": state(registry, number, frozen_after),
        "why_not": why_not(registry, number),
    }


def state(registry: Registry, number: int, frozen_after: int) -> str:
    """Return what a version is: `serving`, `on trial`, `frozen`, `accepted`, `refused`, `gone` or `unsound`."""
    frozen = registry.first_at_least(frozen_after)
    manifest = _manifest(registry, number)
    if serving(registry) == number:
        return SERVING
    if number and registry.named and registry.named.canary == number:
        return TRIAL
    if frozen and frozen.number == number:
        return FROZEN
    if not manifest.evaluation.accepted:
        return REFUSED
    if why_not(registry, number) is None:
        return ACCEPTED
    return UNSOUND if registry.chunks.get(number) or not manifest.chunks else GONE


def table(registry: Registry, frozen_after: int, shown: Sequence[int]) -> Table:
    """Return the versions `shown` as a table that fits 80 columns."""
    made = Table(box=None, pad_edge=False)
    for heading in ("version", "parent", "learned from", "log-loss", "before"):
        made.add_column(heading, justify="right", no_wrap=True)
    for heading in ("made", "state"):
        made.add_column(heading, no_wrap=True)
    for number in shown:
        manifest = _manifest(registry, number)
        found = manifest.evaluation
        made.add_row(
            str(number),
            str(manifest.parent) if number else "",
            f"{manifest.trained_through:,}",
            loss(found.candidate_loss),
            loss(found.incumbent_loss),
            when(manifest) if number else "from the seed",
            state(registry, number, frozen_after),
        )
    return made


def notes(registry: Registry, shown: Sequence[int]) -> list[str]:
    """Return why versions among `shown` do not serve, a line each, where the table's word does not say it."""
    found = []
    named = registry.named
    if named and named.version != serving(registry):
        found.append(
            f"version {named.version} was put into service and cannot serve: {why_not(registry, named.version)}"
        )
    if named and named.reason and not named.reason.startswith("accepted"):
        found.append(f"epoch {named.epoch}: {named.reason}")
    for number in shown:
        manifest = _manifest(registry, number)
        if not manifest.evaluation.accepted:
            found.append(f"version {number}: {manifest.evaluation.reason or 'refused, no reason given'}")
        elif manifest.chunks and registry.chunks.get(number) and (why := why_not(registry, number)):
            found.append(f"version {number}: {why}")
    private = [(number, _manifest(registry, number).privacy) for number in shown]
    found.extend(
        f"version {number}: epsilon {one.epsilon:.2f} for delta {one.delta:g}" for number, one in private if one
    )
    return found


def details(registry: Registry, number: int, frozen_after: int) -> Table:
    """Return one version as a table of facts; empty ones are left out."""
    manifest = _manifest(registry, number)
    found, config = manifest.evaluation, manifest.config
    offsets = sorted(manifest.trained_through_offsets.items())
    size = f"{manifest.bytes:,} bytes of {manifest.form} in {manifest.chunks} chunks, SHA-256 {manifest.sha256}"
    sizes = f"{config.head}, H={config.hidden_size}, E={config.embedding_size}, Cf={config.category_size}"
    interval, privacy = found.interval, manifest.privacy
    rows = [
        ("version", f"{number} of {registry.name}"),
        ("parent", str(manifest.parent) if number else ""),
        ("made", when(manifest) if number else "from the seed"),
        ("state", state(registry, number, frozen_after)),
        ("cannot serve", why_not(registry, number) or ""),
        ("form", f"{sizes}, {config.embedding_size} of H a memory" if config.memory else sizes),
        ("weights", size if manifest.chunks else ""),
        ("learned from", f"{manifest.trained_through:,} feedback records"),
        ("next offsets", ", ".join(f"{partition}: {at:,}" for partition, at in offsets)),
        ("log-loss", f"{loss(found.candidate_loss)} against {loss(found.incumbent_loss)}" if found.examples else ""),
        ("difference", f"95 % from {interval[0]:+.4f} to {interval[1]:+.4f}" if interval else ""),
        ("judged on", f"{found.examples:,} examples of {found.users:,} users" if found.examples else ""),
        ("privacy", f"epsilon {privacy.epsilon:.2f} for delta {privacy.delta:g}" if privacy else ""),
        *(
            (f"{name}", f"mean {one.mean:.3f}, deviation {one.deviation:.3f} over {one.count:,.0f} videos")
            for name, one in sorted(manifest.standard.items())
        ),
        ("verdict", found.reason),
    ]
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value:
            made.add_row(name, value)
    return made


def loss(value: float | None) -> str:
    """Return a loss for a person; empty when it was not measured."""
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"


def when(manifest: Manifest) -> str:
    """Return when a version was made, in local time."""
    return datetime.fromtimestamp(manifest.created_ms / 1000).strftime("%Y-%m-%d %H:%M:%S")


def _manifest(registry: Registry, number: int) -> Manifest:
    return registry.manifests.get(number) or initial_version(registry.name, registry.config).manifest


def _finite(value: Any) -> Any:
    """Return `value`, or None when it holds a number that JSON does not have."""
    parts = value if isinstance(value, tuple) else (value,)
    return None if any(isinstance(part, float) and not math.isfinite(part) for part in parts) else value
