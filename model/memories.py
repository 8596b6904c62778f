"""Memories over whole windows, as training needs them; `model.memory` says what a memory is."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from model.memory import BOUGHT, DECAY, ENTERED, FEEDBACK, GAIN, HIDDEN, LIKES, NORM, WATCHED

Tensor = Any  # TensorFlow ships no types


def memories(vectors: Tensor, behaviour: Tensor, expected: Tensor, first: Tensor) -> Tensor:
    """Return memories [T+1, B, E] of windows, `first` [B, E] among them: `model.memory.remember`, step by step.

    How much a step surprises is held still; gradients reach the vectors, and `first`.

    Args:
      vectors, behaviour: [T, B, E] and [T, B, F].
      expected: [T, B], logits for a viewer of whom nothing is known.
    """
    moves = tf.stop_gradient(_moves(vectors, _outcomes(behaviour), expected, first))
    steps = vectors.shape[0]
    ages = np.arange(steps + 1)[:, None] - 1 - np.arange(steps)[None, :]
    kept = np.where(ages >= 0, np.power(DECAY, np.maximum(ages, 0)), 0.0).astype(np.float32)
    begun = np.power(DECAY, np.arange(steps + 1)).astype(np.float32)
    return tf.tensordot(kept, moves[..., None] * vectors, axes=1) + begun[:, None, None] * first[None]


def _moves(vectors: Tensor, outcomes: Tensor, expected: Tensor, first: Tensor) -> Tensor:
    """Return by what [T, B] each step's vector enters the memory."""
    steps, rows, _ = vectors.shape
    gains = GAIN / (NORM + tf.reduce_sum(vectors * vectors, axis=2))

    def step(t: Tensor, memory: Tensor, found: Tensor) -> tuple[Tensor, ...]:
        logit = expected[t] + FEEDBACK * tf.reduce_sum(memory * vectors[t], axis=1)
        move = gains[t] * (outcomes[t] - tf.sigmoid(logit))
        return t + 1, DECAY * memory + move[:, None] * vectors[t], found.write(t, move)

    begun = (0, first, tf.TensorArray(tf.float32, steps, element_shape=[rows]))
    return tf.while_loop(lambda t, *_: t < steps, step, begun, maximum_iterations=steps)[2].stack()


def _outcomes(behaviour: Tensor) -> Tensor:
    """Return `model.memory.outcomes` [T, B] of behaviour inputs [T, B, F]."""
    liked = tf.reduce_max(tf.gather(behaviour, LIKES, axis=2), axis=2)
    watched = tf.maximum(tf.minimum(2.0 * behaviour[..., WATCHED], 1.0), behaviour[..., ENTERED])
    return tf.maximum((watched + liked) / 2.0, behaviour[..., BOUGHT]) * (1.0 - behaviour[..., HIDDEN])
