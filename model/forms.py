"""Smaller forms of the weights on the wire: half as wide, or table rows as bytes with a scale for each row.

The form is part of the bytes that the manifest's hash covers, and every reader widens them to the same float32, so all
workers make the same states from a version, and all arithmetic stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.manifest import Form
from model.standard import STANDARD
from model.weights import Weights

_SCALE = ".scale"


def packed(weights: Mapping[str, NDArray[Any]], form: Form) -> Weights:
    """Return the arrays that stand for `weights` (float32, and int64 keys) in a form.

    `int8` holds rows of tables as bytes, by the largest of each row; everything else of floats is float16 then.
    """
    if form == "float32":
        return dict(weights)
    found: Weights = {}
    for name, value in weights.items():
        if value.dtype != np.float32 or name == STANDARD:  # the manifest tells it, and it is 12 bytes
            found[name] = value
        elif form == "int8" and name.startswith("table."):
            scale = np.abs(value).max(axis=1, initial=0.0) / np.float32(127)
            steps = np.rint(value / np.where(scale > 0, scale, 1)[:, None])
            found[name] = np.nan_to_num(steps).astype(np.int8)  # the scale is not finite either then
            found[name + _SCALE] = scale.astype(np.float32)
        else:
            found[name] = _halves(value)
    return found


def widened(found: Mapping[str, NDArray[Any]]) -> Weights:
    """Return the weights that `packed` arrays stand for; what is of no form is left to `model.weights.check`."""
    weights: Weights = {}
    for name, value in found.items():
        scale = found.get(name + _SCALE)
        if value.dtype == np.float16:
            weights[name] = value.astype(np.float32)
        elif value.dtype == np.int8 and scale is not None and scale.shape == value.shape[:1]:
            weights[name] = value.astype(np.float32) * scale.astype(np.float32)[:, None]
        elif not (name.endswith(_SCALE) and name.removesuffix(_SCALE) in found):
            weights[name] = value
    return weights


def _halves(value: NDArray[Any]) -> NDArray[Any]:
    limit = np.finfo(np.float16).max
    return np.where(np.isfinite(value), np.clip(value, -limit, limit), value).astype(np.float16)
