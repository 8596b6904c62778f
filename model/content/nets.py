"""The content towers in Keras, for training. What serves is `model.content.serving`, equal up to rounding."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model.content.towers import EPSILON, Tower, initial_weights
from streams.core.ports import Floats


class TowerNet(keras.Model):
    """Pictures [B, T, H, W, C] float32 with mask [B, T] bool to unit vectors [B, D]."""

    def __init__(self, tower: Tower, seed: int) -> None:
        super().__init__()
        self.tower = tower
        start = initial_weights(tower, seed)
        for name, value in start.items():
            self.add_weight(shape=value.shape, initializer=_Exactly(value), name=name.replace(".", "_"))

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """Return unit vectors [B, D] of pictures and their mask."""
        pictures, mask = inputs
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
        features = tf.nn.relu(tf.matmul(tf.reshape(x, (-1, picture.shape[0])), picture) + picture_bias)
        features = tf.reshape(features, (-1, count, tower.features))
        logits = tf.where(mask[:, :, None], tf.matmul(features, attention), -1e9)
        pooled = tf.einsum("bta,btf->baf", tf.nn.softmax(logits, axis=1), features)
        out = tf.matmul(tf.reshape(pooled, (-1, tower.heads * tower.features)), vector)
        return tf.math.l2_normalize(out, axis=-1)

    def export(self) -> dict[str, Floats]:
        """Return the weights by name."""
        names = self.tower.shapes()
        return {name: np.asarray(weight, np.float32) for name, weight in zip(names, self.weights, strict=True)}


class _Exactly(keras.initializers.Initializer):
    def __init__(self, value: Floats) -> None:
        self._value = value

    def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
        return tf.constant(self._value, dtype=dtype)
