"""What the `models` topic holds beside weights: manifests, the record of what serves, and the keys of all records.

Keys: `name/version/chunk/i`, `name/version/manifest` and `name/current`; one key per piece, since compaction keeps the
last value of a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from model.config import ModelConfig
from model.privacy import Privacy
from streams.codecs import Decoder
from streams.core.events import Record, Word

Count = Annotated[int, Meta(ge=0)]
Sha256 = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]
Form = Literal["float32", "float16", "int8"]
MAX_REASON = 300
Why = Annotated[str, Meta(max_length=MAX_REASON)]


class Evaluation(Record, frozen=True):
    """What the gate found on held-back feedback.

    Attributes:
      accepted: whether the version may serve; `reason` says why, or why not.
      candidate_loss, incumbent_loss: mean log-loss in nats; None when not measured.
      interval: 95 % interval of candidate - incumbent.
      examples, users: how many it was measured on.
    """

    accepted: bool = True
    reason: Why = ""
    candidate_loss: float | None = None
    incumbent_loss: float | None = None
    interval: tuple[float, float] | None = None
    examples: Count = 0
    users: Count = 0


class Standard(Record, frozen=True):
    """Statistics of one numeric feature, over the videos published before a version was trained."""

    count: Annotated[float, Meta(ge=0)]
    mean: float
    deviation: Annotated[float, Meta(gt=0)]


class Manifest(Record, frozen=True):
    """A version and where it came from. A refused candidate has a manifest and no chunks.

    Attributes:
      version: from 1; 0 stands for the weights that every process makes from the seed.
      parent: the version that this one was fine-tuned from.
      features: names of the behaviour inputs, in order.
      sha256, chunks, bytes: of the whole weights. These and `features` are filled in by `model.publish.records`.
      form: of the weights on the wire (`model.forms`); every reader widens them to the same float32.
      trained_through: feedback records learned from, over all partitions.
      trained_through_offsets: by partition of `feedback`, the first offset that was not learned from.
      erased: users erased before this version; nothing of theirs is among what it was trained on since then, though
        what earlier versions learned from them is not unlearned.
      erased_through: of the `erasures` topic, up to which offset that holds.
      standard: how its numeric features were standardised, by name (`model.standard`).
      excluded: receipts of the users that this version is the first to leave out, the newest of them.
      signature: of the rest, see `model.signature`; empty when there is none.
      privacy: what noise in training bounds; None without, or where an earlier version had none.
      trained_through_ms: record time of the newest feedback learned from.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    version: Count
    parent: Count
    config: ModelConfig
    trained_through: Count
    created_ms: Count
    trained_through_ms: Count = 0
    trained_through_offsets: dict[int, int] = msgspec.field(default_factory=dict)
    evaluation: Evaluation = Evaluation()
    features: tuple[str, ...] = ()  # not FEATURES: a default is not written, and the reader's may be another
    sha256: Sha256 = ""
    chunks: Annotated[int, Meta(ge=0, le=4096)] = 0
    bytes: Count = 0
    form: Form = "float32"
    erased: Count = 0
    erased_through: Count = 0
    signature: Sha256 = ""
    privacy: Privacy | None = None
    standard: dict[str, Standard] = msgspec.field(default_factory=dict)
    excluded: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()


class Current(Record, frozen=True):
    """Which version serves. `epoch` only rises; a rollback is a new epoch that names an older version.

    Attributes:
      canary: the version on trial, 0 for none; `share` of the users get it, by their bucket.
      signature: of the rest and the lineage's name, see `model.signature`; empty when there is none.
    """

    epoch: Annotated[int, Meta(ge=1)]
    version: Count
    reason: Why = ""
    canary: Count = 0
    share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    signature: Sha256 = ""


decode_manifest = Decoder(Manifest)
decode_current = Decoder(Current)


@dataclass(frozen=True)
class ChunkKey:
    """Key of one chunk."""

    version: int
    index: int


@dataclass(frozen=True)
class ManifestKey:
    """Key of a manifest."""

    version: int


@dataclass(frozen=True)
class CurrentKey:
    """Key of the record that says what serves."""


Key = ChunkKey | ManifestKey | CurrentKey


def parse_key(key: bytes, name: str) -> Key | None:
    """Return what a record of the `models` topic is about; None when it belongs to another lineage.

    Raises:
      ValueError: it is of this lineage and unknown.
    """
    first, *rest = key.split(b"/")
    if first != name.encode():
        return None
    match rest:
        case [b"current"]:
            return CurrentKey()
        case [version, b"manifest"] if _number(version):
            return ManifestKey(int(version))
        case [version, b"chunk", index] if _number(version) and _number(index):
            return ChunkKey(int(version), int(index))
    raise ValueError(f"unknown key {key[:80]!r}")


def _number(text: bytes) -> bool:
    """Tell whether `text` is a number as we write it; any other spelling would be a second key for the same piece."""
    return text.isdigit() and len(text) <= 15 and str(int(text)).encode() == text


def chunk_key(name: str, version: int, index: int) -> bytes:
    """Return the key of a chunk."""
    return f"{name}/{version}/chunk/{index}".encode()


def manifest_key(name: str, version: int) -> bytes:
    """Return the key of a manifest."""
    return f"{name}/{version}/manifest".encode()


def current_key(name: str) -> bytes:
    """Return the key of the record that says what serves."""
    return f"{name}/current".encode()
