"""What one user can do to a step: the gradient of each window is measured, and those of a user cut to a norm together.

The gradient of a window is never made: for a layer it is the sum over places of input ⊗ what its output was passed, so
its squared norm is a sum over pairs of places of the product of two inner products.

Source: Goodfellow 2015 (arXiv 1510.01799), and Abadi et al. 2016 for the cut; the cut is by user instead of by example.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types


class Passed(NamedTuple):
    """Gradients of the summed loss by what lies between the weights. Axes: T steps, B windows, N examples.

    Attributes:
      stepped, shown: [T, B, E] and [N, E], by video vectors where they are used.
      projected, products: [T, B, 3H], by the GRU's inputs times kernel, and hidden states times recurrent kernel.
      raw: [N, E], by user vectors before the tanh.
      logits: [N].
      start: [B, H], by what the first states are made of.
    """

    stepped: Tensor
    shown: Tensor
    projected: Tensor
    products: Tensor
    raw: Tensor
    logits: Tensor
    start: Tensor

    def scaled(self, shares: Tensor, row: Tensor) -> Passed:
        """Return these with each window's part times its share [B]."""
        steps, examples = shares[None, :, None], tf.gather(shares, row)
        wide = examples[:, None]
        return Passed(
            self.stepped * steps, self.shown * wide, self.projected * steps, self.products * steps, self.raw * wide,
            self.logits * examples, self.start * shares[:, None],
        )  # fmt: skip


class Inputs(NamedTuple):
    """What the layers were given.

    Attributes:
      content: [U, C], all that maps to video vectors by some kernel.
      kernel, tabled: [., E], whose first `tabled` rows belong to columns of content that come from tables.
      vectors: [U, E].
      inputs, hidden: [T, B, I] and [T, B, H], of the GRU.
      read, users: [N, H] and [N, E].
      own: what else reaches a video's vector with factors whose squares add up to at most that: a bias, a row of the
        video's own, and the mean of its n-grams' rows.
    """

    content: Tensor
    kernel: Tensor
    tabled: int
    vectors: Tensor
    inputs: Tensor
    hidden: Tensor
    read: Tensor
    users: Tensor
    own: float = 2.0


def quick_norms(passed: Passed, given: Inputs, step_video: Tensor, row: Tensor, video: Tensor) -> Tensor:
    """Return at least the norms [B] of the windows' gradients: sums of the norms of what each place adds to a layer."""
    windows, shown, users = step_video.shape[1], tf.gather(given.vectors, video), given.users

    def by_window(values: Tensor) -> Tensor:
        return tf.math.unsorted_segment_sum(values, row, windows)

    def layer(inputs: Tensor, passed: Tensor) -> Tensor:
        return _root((_squares(inputs) + 1.0) * _squares(passed))

    gru = tf.reduce_sum(layer(given.inputs, passed.projected), axis=0) ** 2
    gru += tf.reduce_sum(layer(given.hidden, passed.products), axis=0) ** 2
    alike = (_squares(users) + 1.0) * (_squares(shown) + 1.0) + 1.0
    judged = by_window(layer(given.read, passed.raw)) ** 2 + by_window(tf.abs(passed.logits) * _root(alike)) ** 2
    sizes = _squares(given.content) + given.own
    parts = []
    for place, through in ((step_video, passed.stepped), (video, passed.shown)):
        raw, reached = _raw(given, place, through)
        parts.append((_root(tf.gather(sizes, place) * _squares(raw)), reached))
    (by_steps, rows_by_steps), (by_examples, rows_by_examples) = parts
    tower = tf.reduce_sum(by_steps, axis=0) + by_window(by_examples)
    rows = tf.reduce_sum(rows_by_steps, axis=0) + by_window(rows_by_examples)
    return _root(gru + judged + tower**2 + rows**2 + _squares(passed.start))


def window_norms(passed: Passed, given: Inputs, step_video: Tensor, row: Tensor, video: Tensor) -> Tensor:
    """Return what `quick_norms` does, nearer to the norms and at some cost: this one is for training with noise.

    Exact but for two triangle inequalities: between a window's steps and its examples where both reach a video's
    vector, and between all of them where they reach rows of authors, tags and music.
    """
    windows, same = step_video.shape[1], _same(row)

    def by_window(pairs: Tensor) -> Tensor:
        return tf.math.unsorted_segment_sum(tf.reduce_sum(same * pairs, axis=1), row, windows)

    gru = _pairs(given.inputs, passed.projected) + _pairs(given.hidden, passed.products)
    shown, users = tf.gather(given.vectors, video), given.users
    alike = (_gram(users) + 1.0) * (_gram(shown) + 1.0) + _same(video)
    judged = by_window((_gram(given.read) + 1.0) * _gram(passed.raw))
    judged += by_window(_gram(passed.logits[:, None]) * alike)
    by_steps, rows_by_steps = _tower(given, _by_window(step_video), _by_window(passed.stepped))
    by_examples, rows_by_examples = _tower(given, video, passed.shown)
    tower = _root(tf.reduce_sum(by_steps, axis=[1, 2])) + _root(by_window(by_examples))
    rows = tf.reduce_sum(rows_by_steps, axis=1) + tf.math.unsorted_segment_sum(rows_by_examples, row, windows)
    first = tf.reduce_sum(passed.start**2, axis=1)  # a window's keys each get a part of it, together no more
    return _root(gru + judged + tower**2 + rows**2 + first)


def shares(norms: Tensor, owner: Tensor, most: float) -> Tensor:
    """Return by what [B] windows are multiplied, so that the windows of one user come to a norm of `most` at most.

    Args:
      owner: int32 [B], a number for the user of each window.
    """
    together = tf.gather(tf.math.unsorted_segment_sum(norms, owner, norms.shape[0]), owner)
    return tf.minimum(1.0, most / tf.maximum(together, 1e-12))


def _tower(given: Inputs, video: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Return pair terms [..., K, K] of K uses of videos, and norms [..., K] of what reaches table rows of content."""
    raw, reached = _raw(given, video, passed)
    alike = _gram(tf.gather(given.content, video)) + 1.0 + _same(video)
    return alike * _gram(raw), reached


def _raw(given: Inputs, video: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Return what passes a video vector's tanh [..., E], and the norms [...] of what reaches rows of content."""
    vectors = tf.gather(given.vectors, video)
    raw = passed * (1.0 - vectors * vectors) * tf.cast(video > 0, tf.float32)[..., None]
    return raw, _root(_squares(tf.tensordot(raw, given.kernel[: given.tabled], axes=[[-1], [1]])))


def _pairs(inputs: Tensor, passed: Tensor) -> Tensor:
    """Return squared norms [B] of a layer with a bias, used at T steps."""
    return tf.reduce_sum((_gram(_by_window(inputs)) + 1.0) * _gram(_by_window(passed)), axis=[1, 2])


def _by_window(values: Tensor) -> Tensor:
    return tf.transpose(values, [1, 0, *range(2, len(values.shape))])


def _gram(rows: Tensor) -> Tensor:
    return tf.matmul(rows, rows, transpose_b=True)


def _same(values: Tensor) -> Tensor:
    return tf.cast(values[..., :, None] == values[..., None, :], tf.float32)


def _squares(rows: Tensor) -> Tensor:
    return tf.reduce_sum(rows * rows, axis=-1)


def _root(squares: Tensor) -> Tensor:
    return tf.sqrt(tf.maximum(squares, 0.0))
