"""The GRU over whole windows, with its gradient written out: what a step passes back is there to be measured."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow ships no types
def unroll(projected: Tensor, tap: Tensor, first: Tensor, recurrent: Tensor, bias: Tensor) -> Any:
    """Return hidden states [T+1, B, H] of windows, `first` [B, H] among them.

    Args:
      projected: [T, B, 3H], the inputs times their kernel, with the input bias; gates as in Keras.
      tap: [T, B, 3H] of anything; never read. Its gradient is that of the products of the hidden states.
      recurrent, bias: [H, 3H] and [3H].
    Source: Cho et al. 2014, with the reset gate after the product; gradients by hand, through time.
    """
    steps, rows, _ = projected.shape
    size = first.shape[1]

    def array(count: int, width: int) -> Tensor:
        return tf.TensorArray(tf.float32, count, element_shape=[rows, width])

    def step(t: Tensor, hidden: Tensor, states: Tensor, gates: Tensor) -> tuple[Tensor, ...]:
        update, reset, candidate = tf.split(projected[t], 3, axis=1)
        inner_update, inner_reset, inner = tf.split(hidden @ recurrent + bias, 3, axis=1)
        update, reset = tf.sigmoid(update + inner_update), tf.sigmoid(reset + inner_reset)
        candidate = tf.tanh(candidate + reset * inner)
        hidden = update * hidden + (1.0 - update) * candidate
        kept = tf.concat([update, reset, candidate, inner], axis=1)
        return t + 1, hidden, states.write(t + 1, hidden), gates.write(t, kept)

    begun = (0, first, array(steps + 1, size).write(0, first), array(steps, 4 * size))
    found = tf.while_loop(lambda t, *_: t < steps, step, begun, maximum_iterations=steps)
    states, kept = found[2].stack(), found[3].stack()

    def backward(upstream: Tensor) -> tuple[Tensor, ...]:
        back = tf.transpose(recurrent)

        def step(t: Tensor, carried: Tensor, outer: Tensor, inner: Tensor) -> tuple[Tensor, ...]:
            update, reset, candidate, product = tf.split(kept[t], 4, axis=1)
            arrived = carried + upstream[t + 1]
            for_candidate = arrived * (1.0 - update) * (1.0 - candidate * candidate)
            for_update = arrived * (states[t] - candidate) * update * (1.0 - update)
            for_reset = for_candidate * product * reset * (1.0 - reset)
            through = tf.concat([for_update, for_reset, for_candidate * reset], axis=1)
            projected = tf.concat([for_update, for_reset, for_candidate], axis=1)
            return t - 1, arrived * update + through @ back, outer.write(t, projected), inner.write(t, through)

        begun = (steps - 1, tf.zeros([rows, size]), array(steps, 3 * size), array(steps, 3 * size))
        _, carried, outer, inner = tf.while_loop(lambda t, *_: t >= 0, step, begun, maximum_iterations=steps)
        for_projected, for_products = outer.stack(), inner.stack()
        for_recurrent = tf.tensordot(states[:-1], for_products, axes=[[0, 1], [0, 1]])
        return (
            for_projected, for_products, carried + upstream[0], for_recurrent, tf.reduce_sum(for_products, axis=[0, 1]),
        )  # fmt: skip

    return states, backward
