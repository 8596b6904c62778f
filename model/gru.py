"""The recurrent step and the dense layer in NumPy, in padded tiles: a row's bits do not depend on its batch."""

from __future__ import annotations

import numpy as np

from streams.core.ports import Floats
from streams.core.tiles import padded, product


def dense(rows: Floats, kernel: Floats, bias: Floats) -> Floats:
    """Return `rows @ kernel + bias` [B, O] of rows [B, I], kernel [I, O] and bias [O]."""
    out = product(rows, kernel.T)
    out += bias
    return out


def sigmoid(values: Floats) -> Floats:
    """Return the logistic function of `values`; the form with tanh never overflows."""
    half = np.float32(0.5)
    found: Floats = half * np.tanh(half * values) + half
    return found


def gru_step(hidden: Floats, inputs: Floats, kernel: Floats, recurrent: Floats, bias: Floats) -> Floats:
    """Advance each hidden state by one step.

    Args:
      hidden: [B, H] float32; zeros for a new user.
      inputs: [B, I] float32.
      kernel, recurrent, bias: [I, 3H], [H, 3H], [2, 3H] as Keras `GRU(reset_after=True)` holds them.
    Returns: [B, H], in input order.
    Source: Cho et al. 2014, with the reset gate after the product, as in cuDNN and Keras.
    """
    count, size = hidden.shape
    hidden = padded(hidden)
    outer = dense(padded(inputs), kernel, bias[0])
    inner = dense(hidden, recurrent, bias[1])
    gates = sigmoid(outer[:, : 2 * size] + inner[:, : 2 * size])
    update, reset = gates[:, :size], gates[:, size:]
    candidate = np.tanh(outer[:, 2 * size :] + reset * inner[:, 2 * size :])
    advanced: Floats = update * hidden + (np.float32(1.0) - update) * candidate
    return advanced[:count]
