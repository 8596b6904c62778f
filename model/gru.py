"""The arithmetic of serving in NumPy, in tiles of fixed size: the bits of a row do not depend on the batch around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streams.core.ports import Floats
from streams.core.ranking import TILE


def in_tiles(function: Callable[..., Floats], width: int, *inputs: Floats) -> Floats:
    """Apply a row-wise function of arrays [B, ...] to padded tiles of 64 rows; returns [B, width] float32."""
    rows = len(inputs[0])
    out = np.empty((rows, width), np.float32)
    for start in range(0, rows, TILE):
        tiles = [_tile(array, start) for array in inputs]
        out[start : start + TILE] = function(*tiles)[: rows - start]
    return out


def _tile(array: Floats, start: int) -> Floats:
    tile = np.zeros((TILE, *array.shape[1:]), np.float32)
    part = array[start : start + TILE]
    tile[: len(part)] = part
    return tile


def sigmoid(x: Floats) -> Floats:
    """Return the logistic function of `x`, same shape; no overflow warning, since `exp` of a large value is clipped."""
    one = np.float32(1.0)
    clipped: Floats = one / (one + np.exp(np.minimum(-x, np.float32(88.0))))
    return clipped


def gru_step(hidden: Floats, inputs: Floats, kernel: Floats, recurrent: Floats, bias: Floats) -> Floats:
    """Advance hidden [B, H] by one step on inputs [B, I]: Keras' `GRU(reset_after=True)`, its weights unchanged.

    Args:
      kernel: [I, 3H], gates in the order update, reset, candidate.
      recurrent: [H, 3H].
      bias: [2, 3H], of the input and of the recurrent part.
    Source: Cho et al. 2014, with the reset gate after the product.
    """
    size = hidden.shape[1]
    given = inputs @ kernel + bias[0]
    inner = hidden @ recurrent + bias[1]
    gates = sigmoid(given[:, : 2 * size] + inner[:, : 2 * size])
    update, reset = gates[:, :size], gates[:, size:]
    candidate = np.tanh(given[:, 2 * size :] + reset * inner[:, 2 * size :])
    advanced: Floats = update * hidden + (np.float32(1.0) - update) * candidate
    return advanced
