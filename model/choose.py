"""Putting a version into service by hand: which one, whether it can serve, and the record that says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model.publish import current_record
from model.registry import Registry
from model.signature import signing_key
from model.topic import read, send
from streams.config import ConfigError, Settings

ATTEMPTS = 3  # the trainer publishes every few seconds at most


@dataclass(frozen=True)
class Choice:
    """What was done.

    Attributes:
      version, epoch: what serves now; the epoch is 0 when nothing was ever put into service.
      was: what served before.
      changed: False when it served already, and nothing was sent.
    """

    version: int
    epoch: int
    was: int
    changed: bool


def serving(registry: Registry) -> int:
    """Return the version in service."""
    current = registry.current()
    return current.number if current else 0


def choose(settings: Settings, target: Callable[[Registry], int], reason: str) -> Choice:
    """Put a version into service, and return once the cluster has it and no other hand came in between.

    Its pieces are sent again first: a worker keeps only few versions in memory.

    Args:
      target: tells which version, from what there is.

    Raises:
      ConfigError: that version cannot serve, the cluster fails, or others keep changing what serves.
    """
    snapshot = read(settings)
    was, version = serving(snapshot.registry), target(snapshot.registry)
    require_servable(snapshot.registry, version)
    pieces = snapshot.pieces(version)
    for attempt in range(ATTEMPTS + 1):
        registry = snapshot.registry
        epoch, named = (registry.named.epoch, registry.named.version) if registry.named else (0, 0)
        trial = registry.named.canary if registry.named else 0
        if named == version == serving(registry) and not trial and why_not(registry, version) is None:
            return Choice(version, epoch, was, changed=attempt > 0)
        if attempt < ATTEMPTS:
            told = current_record(settings.model_name, epoch + 1, version, reason, key=signing_key(settings))
            send(settings, [pieces, [told]])
            snapshot = read(settings)  # another hand's equal epoch may have come first: ours is refused, and goes again
    raise ConfigError(f"others keep changing which version serves; stop the trainer, then choose {version} again")


def require_servable(registry: Registry, version: int) -> None:
    """Return when a version can serve.

    Raises:
      ConfigError: it cannot; the message says why, and which can.
    """
    manifest = registry.manifests.get(version)
    servable = ", ".join(map(str, servable_versions(registry)))
    if manifest is None and version:
        raise ConfigError(f"there is no version {version}; versions that can serve: {servable}")
    why = why_not(registry, version)
    if why is None:
        return
    if manifest is not None and not manifest.evaluation.accepted:
        why = "the gate refused it, and its weights were not kept"
    raise ConfigError(f"version {version} cannot serve ({why}); versions that can: {servable}")


def servable_versions(registry: Registry) -> list[int]:
    """Return the versions that can serve, 0 included."""
    return [number for number in (0, *sorted(registry.manifests)) if why_not(registry, number) is None]


def why_not(registry: Registry, version: int) -> str | None:
    """Return why a version cannot be put into service, None when it can.

    A registry that has read the whole topic may hold a version in use whose records were taken back since.
    """
    manifest = registry.manifests.get(version)
    if manifest and manifest.chunks and not registry.chunks.get(version):
        return "its weights are no longer kept"
    return registry.why_not(version)


def one_back(registry: Registry) -> int:
    """Return the parent of the version in service.

    Raises:
      ConfigError: version 0 serves, which has none.
    """
    now = serving(registry)
    if now == 0:
        raise ConfigError("version 0 serves, and there is none before it")
    return registry.manifests[now].parent if now in registry.manifests else 0
