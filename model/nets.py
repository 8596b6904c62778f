"""The model in TensorFlow: one compiled training step, one compiled score, and weights in and out by name.

Dense weights and their Adam moments are `tf.Variable`s inside the step; table rows come in with each batch (see
`model.tables`). All shapes are fixed, so XLA compiles each function once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.batches import Batch, BatchShape, empty
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.modalities import inputs
from model.tables import BETA1, BETA2, EPSILON, Table, Tables
from model.weights import Weights
from streams.core.ports import Floats

Tensor = Any  # TensorFlow ships no types


@dataclass(frozen=True)
class NetOptions:
    """How the net learns.

    Attributes:
      rate: Adam's step size of dense weights; the next three multiply it for rows of authors, tags and music, for the
        learned residuals of videos, and for their biases.
      tag_scale: standard deviation of a new tag's row.
      own_scale: of what a new author or music has besides the mean of its first tags.
      decay: weight decay of table rows, per unit of step size.
      clip: largest global norm of the dense gradients.
      dropout: chance that a batch sees a video without what was learned of it by id, so that content stands alone.
      media_dropout: chance that a batch sees a video without one of its content vectors, each by itself.
      media_rate: multiplies the step size of the weights of content vectors.
      most_rows: rows of a table kept.
    """

    rate: float = 0.0005
    table_rate: float = 6.0
    residual_rate: float = 1.0
    bias_rate: float = 40.0
    tag_scale: float = 0.25
    own_scale: float = 0.1
    decay: float = 0.01
    clip: float = 1.0
    dropout: float = 0.1
    media_dropout: float = 0.1
    media_rate: float = 1.0
    most_rows: int = 32_768

    def tables(self, category: int, embedding: int) -> Tables:
        """Return empty tables for rows of these widths."""
        shared = np.full(category, self.rate * self.table_rate, np.float32)
        learned = np.full(embedding + 1, self.rate * self.residual_rate, np.float32)
        learned[-1] = self.rate * self.bias_rate
        author, tag, music = (
            Table(category, scale, shared, self.decay, self.most_rows)
            for scale in (self.own_scale, self.tag_scale, self.own_scale)
        )
        return Tables(author, tag, music, Table(embedding + 1, 0.0, learned, self.decay, self.most_rows))


class Net:
    """Weights with their optimiser state, as one thing that learns.

    Attributes:
      steps: of training, so far.
    """

    def __init__(self, config: ModelConfig, shape: BatchShape, options: NetOptions, seed: int = 0) -> None:
        self.config, self.shape, self.options = config, shape, options
        self.steps = 0
        self.tables = options.tables(config.category_size, config.embedding_size)
        self._rng = np.random.default_rng(seed)  # of dropout
        self._dense: dict[str, tf.Variable] = {}
        self._moments: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        self._train = tf.function(self._train_step, jit_compile=True)
        self._score = tf.function(self._logits, jit_compile=True)

    def load(self, weights: Weights) -> None:
        """Take over weights; the optimiser starts anew."""
        self.steps = 0
        for name, table in self.tables.named().items():
            table.load(weights[f"table.{name}.keys"], weights[f"table.{name}.rows"])
        for name, value in weights.items():
            if name.startswith("table."):
                continue
            if name not in self._dense:
                self._dense[name] = tf.Variable(value, dtype=tf.float32)
                self._moments[name] = tf.Variable(0 * value), tf.Variable(0 * value)
            self._dense[name].assign(value)
            for moment in self._moments[name]:
                moment.assign(0 * value)

    def compile(self) -> None:
        """Compile both functions now rather than in the first round. Weights must be loaded, and again afterwards."""
        nothing = Catalogue()
        self.train(nothing, empty(self.shape))
        self.logits(nothing, empty(self.shape))

    def export(self) -> Weights:
        """Return the weights as copies, by name."""
        weights: Weights = {name: variable.numpy() for name, variable in self._dense.items()}
        for name, table in self.tables.named().items():
            weights[f"table.{name}.keys"], weights[f"table.{name}.rows"] = table.sorted()
        return weights

    def optimiser(self) -> Weights:
        """Return the optimiser's state, by name, as copies."""
        state: Weights = {"steps": np.array([self.steps], np.int64)}
        for name, (first, second) in self._moments.items():
            state |= {f"first.{name}": first.numpy(), f"second.{name}": second.numpy()}
        for name, table in self.tables.named().items():
            keys, rows_first, rows_second = table.moments()
            state |= {f"rows.{name}.keys": keys, f"rows.{name}.first": rows_first, f"rows.{name}.second": rows_second}
        return state

    def set_optimiser(self, state: Weights) -> None:
        """Go on from a state that `optimiser` returned; the weights must be loaded already.

        Raises:
          KeyError, ValueError: the state is of another model.
        """
        for name, (first, second) in self._moments.items():
            first.assign(state[f"first.{name}"])
            second.assign(state[f"second.{name}"])
        for name, table in self.tables.named().items():
            table.set_moments(*(state[f"rows.{name}.{part}"] for part in ("keys", "first", "second")))
        self.steps = int(state["steps"][0])

    def train(self, catalogue: Catalogue, batch: Batch, warmth: float = 1.0) -> float:
        """Take one step on a batch; return its weighted mean loss before the step, in nats.

        Args:
          warmth: multiplies every step size.
        """
        self.steps += 1
        size = self.shape.videos
        places = self.tables.places(catalogue, batch, grow=True)
        content = self.tables.content(catalogue, batch, places, size)
        kept = (self._rng.random((size, 1)) >= self.options.dropout).astype(np.float32)
        residuals = self.tables.residuals(places, size) * kept
        media = self._media(catalogue, batch, self.options.media_dropout)
        pace = self.options.rate * warmth / (1.0 - BETA1**self.steps), (1.0 - BETA2**self.steps) ** -0.5
        given = (content, residuals, media, *_arrays(batch), batch.label, batch.weight, *map(np.float32, pace))
        loss, for_content, for_residuals = self._train(*map(tf.constant, given))
        self.tables.update(places, for_content.numpy(), for_residuals.numpy() * kept, self.steps, warmth)
        return float(loss)

    def logits(self, catalogue: Catalogue, batch: Batch) -> Floats:
        """Return the logits [n] of a batch's examples."""
        places = self.tables.places(catalogue, batch, grow=False)
        content = self.tables.content(catalogue, batch, places, self.shape.videos)
        residuals = self.tables.residuals(places, self.shape.videos)
        media = self._media(catalogue, batch)
        found: Floats = self._score(*map(tf.constant, (content, residuals, media, *_arrays(batch)))).numpy()
        return found[: len(batch.slots)]

    def _media(self, catalogue: Catalogue, batch: Batch, dropout: float = 0.0) -> Floats:
        """Return media inputs [U, M], laid out as content; zeros where no video is."""
        out = np.zeros((self.shape.videos, self.config.media_size), np.float32)
        if self.config.media:
            present = catalogue.present[batch.videos]
            if dropout:
                present = present & (self._rng.random(present.shape) >= dropout)
            out[1 : len(batch.videos) + 1] = inputs(catalogue.halves[batch.videos], present, self.config.media)
        return out

    def _logits(
        self, content: Tensor, residuals: Tensor, media: Tensor, step_video: Tensor, behaviour: Tensor, row: Tensor,
        time: Tensor, video: Tensor,
    ) -> Tensor:  # fmt: skip
        """Return logits [N]; the arguments are `content`, `residuals`, `media` [U, ...], and the arrays of a batch."""
        dense, embedding = self._dense, self.config.embedding_size
        raw = content @ dense["video.kernel"] + dense["video.bias"] + residuals[:, :embedding]
        if self.config.media:
            raw += media @ dense["media.kernel"]
        vectors = tf.tanh(raw) * tf.constant([[0.0]] + [[1.0]] * (self.shape.videos - 1))
        hidden = self._hidden(tf.gather(vectors, step_video), behaviour)
        users = tf.gather_nd(hidden, tf.stack([time, row], axis=1))
        users = tf.tanh(users @ dense["user.kernel"] + dense["user.bias"])
        shown = tf.gather(vectors, video)
        logits = tf.linalg.matvec(users, dense["head.user"]) + tf.linalg.matvec(shown, dense["head.video"])
        logits += dense["head.bias"]
        if self.config.head == "interaction":
            logits += tf.gather(residuals[:, embedding], video)
            logits += tf.reduce_sum((users @ dense["head.interaction"]) * shown, axis=1)
        return logits

    def _hidden(self, vectors: Tensor, behaviour: Tensor) -> Tensor:
        """Return hidden states [T+1, B, H], from zeros on, of inputs [T, B, E] and [T, B, F]."""
        dense, size = self._dense, self.config.hidden_size
        recurrent, bias = dense["gru.recurrent"], dense["gru.bias"]
        steps, rows, _ = behaviour.shape
        inputs = tf.concat([vectors, behaviour], axis=2)
        projected = tf.tensordot(inputs, dense["gru.kernel"], axes=1) + bias[0]
        hidden = tf.zeros([rows, size])
        states = tf.TensorArray(tf.float32, steps + 1, element_shape=[rows, size]).write(0, hidden)
        for t in tf.range(steps):
            update, reset, candidate = tf.split(projected[t], 3, axis=1)
            inner_update, inner_reset, inner = tf.split(hidden @ recurrent + bias[1], 3, axis=1)
            update = tf.sigmoid(update + inner_update)
            candidate = tf.tanh(candidate + tf.sigmoid(reset + inner_reset) * inner)
            hidden = update * hidden + (1.0 - update) * candidate
            states = states.write(t + 1, hidden)
        return states.stack()

    def _train_step(
        self, content: Tensor, residuals: Tensor, media: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Move the dense weights by one step; return the loss and the gradients of `content` and `residuals`."""
        *arrays, label, weight, rate, spread = rest
        with tf.GradientTape() as tape:
            tape.watch([content, residuals])
            each = tf.nn.sigmoid_cross_entropy_with_logits(label, self._logits(content, residuals, media, *arrays))
            loss = tf.reduce_sum(each * weight) / tf.maximum(tf.reduce_sum(weight), 1.0)
        wanted = [*self._dense.values(), content, residuals]
        *gradients, for_content, for_residuals = tape.gradient(loss, wanted, unconnected_gradients="zero")
        gradients, _ = tf.clip_by_global_norm(gradients, self.options.clip)
        for name, gradient in zip(self._dense, gradients, strict=True):
            first, second = self._moments[name]
            first.assign(BETA1 * first + (1 - BETA1) * gradient)
            second.assign(BETA2 * second + (1 - BETA2) * gradient * gradient)
            pace = rate * (self.options.media_rate if name == "media.kernel" else 1.0)
            self._dense[name].assign_sub(pace * first / (tf.sqrt(second) * spread + EPSILON))
        return loss, for_content, for_residuals


def _arrays(batch: Batch) -> tuple[NDArray[Any], ...]:
    return batch.step_video, batch.behaviour, batch.row, batch.time, batch.video
