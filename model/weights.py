"""The weights of a version: names, shapes, first values, and bytes without pickles.

H hidden, E embedding, F behaviour features, Cf category embedding, C content, V rows of a table.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model.config import ModelConfig

Weights = dict[str, NDArray[np.generic]]

#: Tables of rows by 64-bit key, which grow; the keys ascend.
TABLES = ("author", "tag", "music", "video")
_V = -1  # any number of rows


class WeightsError(ValueError):
    """Weights that must not serve; `reason` is short, stable and safe to count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by name; -1 stands for the rows of a table."""
    hidden, embedding, category = config.hidden_size, config.embedding_size, config.category_size
    found: dict[str, tuple[int, ...]] = {
        "gru.kernel": (embedding + config.behaviour_size, 3 * hidden),
        "gru.recurrent": (hidden, 3 * hidden),
        "gru.bias": (2, 3 * hidden),
        "user.kernel": (hidden, embedding),
        "user.bias": (embedding,),
        "video.kernel": (config.content_size, embedding),
        "video.bias": (embedding,),
        "head.user": (embedding,),
        "head.video": (embedding,),
        "head.bias": (1,),
    }
    for table in TABLES:
        found[f"table.{table}.keys"] = (_V,)
        found[f"table.{table}.rows"] = (_V, embedding + 1 if table == "video" else category)
    if config.head == "interaction":
        found["head.interaction"] = (embedding, embedding)
    return found


def initial(config: ModelConfig) -> Weights:
    """Return seeded weights with empty tables: Glorot kernels, an orthogonal recurrent kernel, zero biases."""
    rng = np.random.default_rng(config.seed)
    weights: Weights = {}
    for name, shape in sorted(shapes(config).items()):
        if name.endswith(".keys"):
            weights[name] = np.zeros(0, np.int64)
        elif name.startswith("table."):
            weights[name] = np.zeros((0, shape[1]), np.float32)
        elif name == "gru.recurrent":
            blocks = [np.linalg.qr(rng.normal(size=(shape[0], shape[0])))[0] for _ in range(3)]
            weights[name] = np.concatenate(blocks, axis=1).astype(np.float32)
        elif len(shape) == 2 and name != "gru.bias":
            limit = math.sqrt(6.0 / sum(shape))
            weights[name] = rng.uniform(-limit, limit, shape).astype(np.float32)
        elif name in ("head.user", "head.video"):
            weights[name] = rng.normal(0.0, 0.1, shape).astype(np.float32)
        else:
            weights[name] = np.zeros(shape, np.float32)
    return weights


def check(weights: Mapping[str, NDArray[np.generic]], config: ModelConfig) -> None:
    """Return when the weights can serve with `config`.

    Raises:
      WeightsError: `shape` for a missing, unknown, misshapen or mistyped array; `not-finite`; `keys` out of order.
    """
    wanted = shapes(config)
    if set(weights) != set(wanted):
        wrong = sorted(set(weights) ^ set(wanted))
        raise WeightsError("shape", f"arrays {wrong[:3]} are missing or unknown")
    for name, shape in wanted.items():
        array = weights[name]
        kind = np.int64 if name.endswith(".keys") else np.float32
        fits = len(array.shape) == len(shape) and all(w in (_V, h) for w, h in zip(shape, array.shape, strict=True))
        if array.dtype != kind or not fits:
            raise WeightsError("shape", f"{name} is {array.dtype}{list(array.shape)}, not {kind.__name__}{list(shape)}")
        if kind is np.float32 and not np.isfinite(array).all():
            raise WeightsError("not-finite", f"{name} holds NaN or infinity")
    for table in TABLES:
        keys, rows = weights[f"table.{table}.keys"], weights[f"table.{table}.rows"]
        if len(keys) != len(rows) or (np.diff(keys.astype(object)) <= 0).any():
            raise WeightsError("keys", f"table {table}: keys do not ascend, or there is not one for each row")


def to_bytes(weights: Weights) -> bytes:
    """Return the weights as safetensors; equal weights give equal bytes."""
    return save({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)})


def from_bytes(data: bytes) -> Weights:
    """Return the weights in `data`.

    Raises:
      WeightsError: `format`: this is not safetensors; a pickle, for one, is never looked into.
    """
    try:
        return dict(load(data))
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise WeightsError("format", f"not safetensors: {error}") from None


def sha256(data: bytes) -> str:
    """Return the hash by which a version is known."""
    return hashlib.sha256(data).hexdigest()
