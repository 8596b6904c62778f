"""The weights of a version: one table of names and shapes, initial values, checks, and bytes on the wire.

Weights are a dict of arrays by name. Tables (`table.*`) have any number of rows V, with their keys ascending.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model.config import ModelConfig
from model.modalities import rows_of
from model.prior import with_prior
from model.standard import MEASURED, STANDARD
from model.title import BUCKETS, TEXT
from streams.core.ports import Floats

Weights = dict[str, NDArray[Any]]
Start = Literal["zeros", "glorot", "orthogonal", "small"]

TABLES = ("author", "tag", "music", "video")
OPTIONAL = ("profile", TEXT)  # tables left out where they have no rows: weights without them stay as they were
ROWS = -1  # in a shape: any number, the same for keys and rows of a table
_SMALL = 0.1  # standard deviation of the heads' vectors: version 0 orders videos, and learning soon outweighs it


class WeightsError(ValueError):
    """Weights that must not serve.

    Attributes:
      reason: `hash`, `pickle`, `format`, `shape`, `not-finite` or `keys`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class Spec:
    """One array: its shape (`ROWS` for a table's rows), dtype and how version 0 fills it."""

    shape: tuple[int, ...]
    start: Start = "zeros"
    dtype: str = "float32"


def specs(config: ModelConfig) -> dict[str, Spec]:
    """Return the arrays of a version, by name.

    Axes: H hidden, E embedding, C content, M media, Cf category. The GRU is laid out as Keras
    `GRU(reset_after=True)`: gates in the order update, reset, candidate; `gru.bias` holds the input bias and the
    recurrent bias. With a memory, the GRU has the first H - E of the hidden units.
    """
    h, e, units = config.hidden_size, config.embedding_size, config.recurrent_size
    found = {
        "gru.kernel": Spec((config.input_size, 3 * units), "glorot"),
        "gru.recurrent": Spec((units, 3 * units), "orthogonal"),
        "gru.bias": Spec((2, 3 * units)),
        "user.kernel": Spec((h, e), "glorot"),
        "user.bias": Spec((e,)),
        "video.kernel": Spec((config.content_size, e), "glorot"),
        "video.bias": Spec((e,)),
        "head.user": Spec((e,), "small"),
        "head.video": Spec((e,), "small"),
        "head.bias": Spec((1,)),
    }
    if config.head == "interaction":
        found["head.interaction"] = Spec((e, e), "glorot")
    if config.media:
        found["media.kernel"] = Spec((config.media_size, e), "glorot")
    for name in TABLES:
        width = e + 1 if name == "video" else config.category_size
        found[f"table.{name}.keys"] = Spec((ROWS,), dtype="int64")
        found[f"table.{name}.rows"] = Spec((ROWS, width))
    for name, width in zip(OPTIONAL, (h, e), strict=True):
        found[f"table.{name}.keys"] = Spec((ROWS,), dtype="int64")
        found[f"table.{name}.rows"] = Spec((ROWS, width))
    found[STANDARD] = Spec((3, len(MEASURED)))
    return found


def _left_out(name: str) -> bool:
    return name == STANDARD or _table(name) in OPTIONAL


def _table(name: str) -> str:
    """Return the name of the table that an array belongs to; empty for what is of none."""
    return name.split(".")[1] if name.startswith("table.") else ""


def initial(config: ModelConfig) -> Weights:
    """Return the weights of version 0, the same for the same configuration; tables have no rows."""
    rng = np.random.default_rng(config.seed)
    weights = {name: _start(spec, rng) for name, spec in specs(config).items() if not _left_out(name)}
    with_prior(weights, config)
    return weights


def fitted(weights: Weights, config: ModelConfig, wanted: ModelConfig) -> Weights:
    """Return weights of `config` with the media inputs and the memory of `wanted`.

    New media inputs say nothing yet. Where one has a memory and the other none, what is known of videos stays, and what
    makes a user of them begins as in version 0.
    """
    found = weights if config.media == wanted.media else _seeing(weights, config, wanted)
    if config.memory == wanted.memory:
        return found
    begun = initial(wanted)
    videos = {name: value for name, value in found.items() if _table(name) != "profile"}
    return videos | {name: begun[name] for name in ("gru.kernel", "gru.recurrent", "gru.bias", "user.kernel")}


def _seeing(weights: Weights, config: ModelConfig, wanted: ModelConfig) -> Weights:
    """Return weights of `config` with the media inputs of `wanted`."""
    found = {name: value for name, value in weights.items() if name != "media.kernel"}
    if wanted.media:
        kernel = np.zeros((wanted.media_size, wanted.embedding_size), np.float32)
        places = rows_of(config.media)
        for name, rows in rows_of(wanted.media).items():
            if name in places:
                kernel[rows] = weights["media.kernel"][places[name]]
        found["media.kernel"] = kernel
    return found


def _start(spec: Spec, rng: np.random.Generator) -> NDArray[Any]:
    shape = tuple(0 if size == ROWS else size for size in spec.shape)
    if spec.start == "glorot":
        limit = np.sqrt(6.0 / sum(shape))
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    if spec.start == "small":
        return rng.normal(0.0, _SMALL, shape).astype(np.float32)
    if spec.start == "orthogonal":
        return _orthogonal(rng, *shape)
    return np.zeros(shape, spec.dtype)


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Return a [rows, columns] matrix with orthonormal rows. Source: Saxe et al. 2014."""
    q, r = np.linalg.qr(rng.normal(size=(columns, rows)))
    signed = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(signed.T.astype(np.float32))


def check(weights: Mapping[str, NDArray[Any]], config: ModelConfig) -> None:
    """Return when the weights can serve under `config`.

    Raises:
      WeightsError: a name is missing or unknown, a shape or dtype differs, a value is not finite, keys do not ascend.
    """
    told = {_table(name) for name in weights} - {""}
    wanted = {
        name: spec
        for name, spec in specs(config).items()
        if not _left_out(name) or name in weights or _table(name) in told
    }
    for name in sorted(wanted.keys() ^ weights.keys()):
        raise WeightsError("shape", f"{name} is {'missing' if name in wanted else 'unknown'}")
    for name, spec in wanted.items():
        _check_one(name, spec, weights[name])
    if STANDARD in weights and not (weights[STANDARD][2] > 0).all():
        raise WeightsError("not-finite", f"{STANDARD} holds a deviation that nothing can be divided by")
    for name in (*TABLES, *(one for one in OPTIONAL if one in told)):
        keys, rows = weights[f"table.{name}.keys"], weights[f"table.{name}.rows"]
        if len(keys) != len(rows):
            raise WeightsError("shape", f"table.{name} has {len(keys)} keys and {len(rows)} rows")
        if (keys[1:] <= keys[:-1]).any():
            raise WeightsError("keys", f"table.{name}.keys do not ascend")
        if name == TEXT and len(keys) and not 0 < keys[0] <= keys[-1] < BUCKETS:
            raise WeightsError("keys", f"table.{name}.keys are from 1 to {BUCKETS - 1}")


def _check_one(name: str, spec: Spec, value: NDArray[Any]) -> None:
    fits = value.ndim == len(spec.shape) and all(
        wanted in (ROWS, size) for wanted, size in zip(spec.shape, value.shape, strict=True)
    )
    if not fits or value.dtype != np.dtype(spec.dtype):
        expected = ", ".join("V" if size == ROWS else str(size) for size in spec.shape)
        raise WeightsError("shape", f"{name} is {value.dtype} {list(value.shape)}, not {spec.dtype} [{expected}]")
    if spec.dtype == "float32" and not np.isfinite(value).all():
        raise WeightsError("not-finite", f"{name} holds a value that is not finite")


def to_bytes(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the weights as safetensors; equal weights give equal bytes."""
    return save({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)})


def from_bytes(value: bytes) -> Weights:
    """Return the weights in `value`; `check` says whether they can serve.

    Raises:
      WeightsError: these bytes are not safetensors. A pickle is named, and never read.
    """
    if value[:1] == b"\x80" and value[-1:] == b".":  # safetensors end in "}" or in numbers, and begin with a length
        raise WeightsError("pickle", "weights are read as safetensors only, never unpickled")
    try:
        return load(value)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise WeightsError("format", f"not safetensors: {error}") from None


def sha256(value: bytes) -> str:
    """Return the SHA-256 of `value` in lower-case hex."""
    return hashlib.sha256(value).hexdigest()


def optional_table(weights: Weights, name: str, width: int) -> tuple[NDArray[Any], Floats]:
    """Return keys [V] and rows [V, W] of a table that weights may lack."""
    keys, rows = weights.get(f"table.{name}.keys"), weights.get(f"table.{name}.rows")
    if keys is None or rows is None:
        return np.zeros(0, np.int64), np.zeros((0, width), np.float32)
    return keys, rows
