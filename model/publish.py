"""A version as records of the `models` topic, in the order in which they must be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from model.manifest import MAX_REASON, Current, Manifest, chunk_key, current_key, manifest_key
from model.signature import signed, signed_current
from model.weights import sha256
from streams.codecs import encode
from streams.core.behaviour import FEATURES

CHUNK_BYTES = 900_000  # with key and headers below the 1 MB that producers and brokers take by default
KEEP_WEIGHTS = 4
KEEP_MANIFESTS = 200


@dataclass(frozen=True)
class Piece:
    """One record of the `models` topic; a value of None is a tombstone."""

    key: bytes
    value: bytes | None


def records(manifest: Manifest, weights: bytes, key: bytes = b"") -> list[Piece]:
    """Return the records of a version: its chunks, then its manifest. They change nothing that serves.

    Args:
      manifest: `sha256`, `bytes`, `chunks` and `features` are filled in here.
      weights: of `model.weights.to_bytes`; empty for a refused candidate, whose manifest alone is kept.
      key: the manifest is signed with it; empty: it is not.
    """
    parts = [weights[at : at + CHUNK_BYTES] for at in range(0, len(weights), CHUNK_BYTES)]
    whole = msgspec.structs.replace(
        manifest,
        sha256=sha256(weights) if weights else "",
        bytes=len(weights),
        chunks=len(parts),
        features=FEATURES,
        evaluation=msgspec.structs.replace(manifest.evaluation, reason=manifest.evaluation.reason[:MAX_REASON]),
    )
    if key:
        whole = signed(whole, key)
    name, version = manifest.name, manifest.version
    chunks = [Piece(chunk_key(name, version, index), part) for index, part in enumerate(parts)]
    return [*chunks, Piece(manifest_key(name, version), encode(whole))]


def current_record(
    name: str, epoch: int, version: int, reason: str, canary: int = 0, share: float = 0.0, key: bytes = b""
) -> Piece:
    """Return the record that puts a version into service; send it once the version's own are acknowledged.

    Args:
      epoch: beyond that of every earlier one (`Registry.named`), also when an older version is named again.
      reason: for a person; cut at 300 characters.
      canary, share: the version on trial and its share of the users.
      key: the record is signed with it; empty: it is not.
    """
    found = Current(epoch=epoch, version=version, reason=reason[:MAX_REASON])
    if canary:
        found = msgspec.structs.replace(found, canary=canary, share=share)
    if key:
        found = signed_current(found, name, key)
    return Piece(current_key(name), encode(found))


def kept_versions(
    manifests: Mapping[int, Manifest], current: int, frozen_after: int | None, keep: int = KEEP_WEIGHTS
) -> set[int]:
    """Return the versions whose weights must stay in the topic.

    Args:
      current: the version in service; it stays, and so do its parent and that one's parent, to roll back to.
      frozen_after: the first version that learned from so many feedback records stays; None: none does.
      keep: so many of the newest versions stay.
    """
    with_weights = sorted(number for number, manifest in manifests.items() if manifest.chunks)
    kept = {current, *with_weights[-keep:]} if keep else {current}
    parent = current
    for _ in range(2):
        parent = manifests[parent].parent if parent in manifests else 0
        kept.add(parent)
    if frozen_after is not None:
        accepted = [number for number in with_weights if manifests[number].evaluation.accepted]
        kept.update([number for number in accepted if manifests[number].trained_through >= frozen_after][:1])
    return kept


def tombstones(
    name: str,
    manifests: Mapping[int, Manifest],
    chunks: Mapping[int, set[int]],
    kept: set[int],
    keep_manifests: int = KEEP_MANIFESTS,
) -> list[Piece]:
    """Return tombstones of what the topic need not hold any longer.

    Args:
      manifests, chunks: what it holds, as `Registry` tells.
      kept: of `kept_versions`.
      keep_manifests: so many of the newest manifests stay, for the history; those of kept versions always do.
    """
    newest = max([*manifests, *kept], default=0)
    gone = [
        Piece(chunk_key(name, version, index), None)
        for version, present in sorted(chunks.items())
        for index in sorted(present)
        if version <= newest and not _wanted(version, index, manifests, kept)
    ]
    old = sorted(set(manifests) - kept)
    return gone + [Piece(manifest_key(name, version), None) for version in old[: max(0, len(old) - keep_manifests)]]


def _wanted(version: int, index: int, manifests: Mapping[int, Manifest], kept: set[int]) -> bool:
    """Tell whether a chunk stays: of a kept version, and not left over from a longer attempt under its number."""
    return version in kept and (version not in manifests or index < manifests[version].chunks)
