"""The content towers in Keras, for training. What serves is `model.content.serving`, equal up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model.content.towers import CENTRE, EPSILON, Tower
from streams.core.ports import Floats


class TowerNet(keras.Model):  # type: ignore[misc]  # Keras ships no types
    """Pictures [B, T, H, W, C] float32 with mask [B, T] bool to unit vectors [B, D]."""

    def __init__(self, tower: Tower, weights: dict[str, Floats]) -> None:
        super().__init__()
        self.tower = tower
        for name in tower.shapes():
            value = weights[name]
            self.add_weight(shape=value.shape, initializer=_Exactly(value), name=name.replace(".", "_"))

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """Return unit vectors [B, D] of pictures and their mask."""
        pictures, mask = inputs
        flat = tf.reshape(pictures, (-1, *pictures.shape[2:]))
        return self.vectors(pictures, [_colour_counts(flat, *one) for one in self.tower.colours], mask)

    def vectors(self, pictures: Any, counts: Sequence[Any], mask: Any) -> Any:
        """Return what `call` does, of pictures whose colours are counted already: `counts`, each [B * T, n]."""
        tower = self.tower
        weights = iter(self.weights)
        count = tf.shape(pictures)[1]
        x = tf.reshape(pictures, (-1, tower.height, tower.width, tower.channels))
        for _, stride, _ in tower.convolutions:
            kernel, scale, offset = (next(weights) for _ in range(3))
            x = tf.nn.conv2d(x, kernel, stride, "SAME")
            mean, variance = tf.nn.moments(x, [-1], keepdims=True)
            x = tf.nn.relu((x - mean) * tf.math.rsqrt(variance + EPSILON) * scale + offset)
        squeeze, squeeze_bias, picture, picture_bias, attention, vector = weights
        if tower.mean_rows:
            x = tf.reduce_mean(x, axis=1)
        x = tf.nn.relu(tf.matmul(x, squeeze) + squeeze_bias)
        seen = [tf.reshape(x, (-1, picture.shape[0] - tower.colour_features()))]
        seen += counts
        features = tf.nn.relu(tf.matmul(tf.concat(seen, axis=1), picture) + picture_bias)
        features = tf.reshape(features, (-1, count, tower.features))
        logits = tf.where(mask[:, :, None], tf.matmul(features, attention), -1e9)
        pooled = tf.einsum("bta,btf->baf", tf.nn.softmax(logits, axis=1), features)
        highest = tf.reduce_max(tf.where(mask[:, :, None], features, 0.0), axis=1)
        pooled = tf.concat([tf.reshape(pooled, (-1, tower.heads * tower.features)), highest], axis=1)
        out = tf.matmul(pooled, vector)
        return tf.math.l2_normalize(out, axis=-1)

    def export(self) -> dict[str, Floats]:
        """Return the weights by name."""
        names = self.tower.shapes()
        return {name: np.asarray(weight, np.float32) for name, weight in zip(names, self.weights, strict=True)}


def _colour_counts(pictures: Any, bins: int, cells: int) -> Any:
    """Return what `serving.colour_counts` does for one pair, of pictures [N, S, S, C]."""
    size = pictures.shape[1]
    place = np.arange(size) * cells // size
    cell = tf.constant(place[:, None] * cells + place[None, :], tf.int32)
    levels = tf.clip_by_value(tf.cast(tf.round((pictures[..., :3] + CENTRE) * 255), tf.int32), 0, 255)
    code = tf.reduce_sum(levels * bins // 256 * tf.constant([bins * bins, bins, 1]), axis=-1)
    count, width = tf.shape(pictures)[0], cells * cells * bins**3
    index = tf.range(count)[:, None, None] * width + cell * bins**3 + code
    ones = tf.ones_like(index, tf.float32)
    found = tf.math.unsorted_segment_sum(tf.reshape(ones, (-1,)), tf.reshape(index, (-1,)), count * width)
    return tf.sqrt(tf.reshape(found, (count, width)) / (size * size))


class _Exactly(keras.initializers.Initializer):  # type: ignore[misc]
    def __init__(self, value: Floats) -> None:
        self._value = value

    def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
        return tf.constant(self._value, dtype=dtype)
