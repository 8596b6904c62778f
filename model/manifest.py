"""What a version says of itself, and which one serves: the records of the `models` topic beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from model.config import ModelConfig
from model.weights import Weights, sha256, to_bytes

CHUNK_BYTES = 900_000  # below the broker's default limit for one message

_Number = Annotated[int, Meta(ge=0)]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """How the gate judged: mean log-loss (nats) of both on examples that neither was trained on."""

    candidate: float
    incumbent: float
    difference: float  # candidate - incumbent
    low: float  # of the 95 % interval of the difference
    high: float
    examples: int
    users: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One version. A refused one has no chunks: it is recorded, and never serves.

    Attributes:
      trained_through: feedback records learned from, over all partitions.
      trained_through_offsets: by partition, the first feedback offset that was not learned from.
      trained_through_ms: record time of the newest feedback learned from.
    """

    name: str
    version: _Number
    parent: int
    config: ModelConfig
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    bytes: _Number
    chunks: Annotated[int, Meta(ge=0, le=10_000)]
    trained_through: _Number
    trained_through_offsets: dict[str, int] = {}
    trained_through_ms: int = 0
    created_ms: int = 0
    accepted: bool = True
    reason: str = ""
    evaluation: Evaluation | None = None


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """Which version serves. The epoch only rises; a rollback is a new epoch that names an older version."""

    epoch: Annotated[int, Meta(ge=1)]
    version: _Number
    reason: str = ""


class ModelRecord(NamedTuple):
    """A record for the `models` topic; a value of None withdraws the key."""

    key: bytes
    value: bytes | None


def sealed(manifest: Manifest, weights: Weights) -> tuple[Manifest, bytes]:
    """Return the manifest with hash, size and chunk count of the weights, and their bytes."""
    data = to_bytes(weights)
    chunks = -(-len(data) // CHUNK_BYTES)
    return msgspec.structs.replace(manifest, sha256=sha256(data), bytes=len(data), chunks=chunks), data


def version_records(manifest: Manifest, data: bytes) -> list[ModelRecord]:
    """Return the records of a version in the order of sending: chunks, then the manifest that completes it."""
    prefix = f"{manifest.name}/{manifest.version}"
    cut = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    records = [ModelRecord(f"{prefix}/chunk/{i}".encode(), chunk) for i, chunk in enumerate(cut)]
    return [*records, ModelRecord(f"{prefix}/manifest".encode(), msgspec.json.encode(manifest))]


def refused_record(manifest: Manifest, reason: str) -> ModelRecord:
    """Return the record of a version that was refused, without its weights."""
    refused = msgspec.structs.replace(manifest, accepted=False, reason=reason, chunks=0)
    return ModelRecord(f"{manifest.name}/{manifest.version}/manifest".encode(), msgspec.json.encode(refused))


def current_record(name: str, epoch: int, version: int, reason: str) -> ModelRecord:
    """Return the record that puts `version` into service."""
    return ModelRecord(
        f"{name}/current".encode(), msgspec.json.encode(Current(epoch=epoch, version=version, reason=reason))
    )


def tombstones(manifests: Mapping[int, Manifest], serving: int, keep: int, frozen_after: int) -> Sequence[ModelRecord]:
    """Return withdrawals of the weights of versions that are not needed; their manifests stay, as the history.

    Kept are the newest `keep`, the serving one and its parent, and the first past `frozen_after` examples.
    """
    with_weights = sorted(version for version, manifest in manifests.items() if manifest.chunks)
    needed = set(with_weights[-keep:]) | {serving}
    if serving in manifests:
        needed.add(manifests[serving].parent)
    needed |= set([v for v in with_weights if manifests[v].trained_through >= frozen_after][:1])
    records = []
    for version in with_weights:
        if version not in needed:
            manifest = manifests[version]
            prefix = f"{manifest.name}/{version}"
            records += [ModelRecord(f"{prefix}/chunk/{i}".encode(), None) for i in range(manifest.chunks)]
            emptied = msgspec.structs.replace(manifest, chunks=0)
            records.append(ModelRecord(f"{prefix}/manifest".encode(), msgspec.json.encode(emptied)))
    return records
