"""The model in TensorFlow: one compiled training step, one compiled loss, and weights in and out by name.

Dense weights and their Adam moments are `tf.Variable`s inside the step; table rows come in with each batch (see
`model.tables`). The step has fixed shapes and XLA compiles it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.batches import Batch, BatchShape
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.tables import BETA1, BETA2, EPSILON, Table, Tables
from model.weights import Weights
from streams.core.ports import Floats

Tensor = Any  # TensorFlow ships no types


@dataclass(frozen=True)
class NetOptions:
    """How the net learns.

    Attributes:
      rate: Adam's step size of dense weights; `table_rate` and `bias_rate` multiply it for table rows and for the
        biases of videos.
      table_scale: standard deviation of a new author, tag or music row.
      cooling: steps after which every rate has fallen to 0.7 of its start, as 1/sqrt(1 + step/cooling); it never
        falls below `coolest` of its start, so that a model goes on following what changes.
      decay: weight decay of table rows.
      clip: largest global norm of the dense gradients.
      dropout: chance that a batch sees a video without its learned residual, so that content learns to stand alone.
      most_rows: rows of a table kept.
    """

    rate: float = 0.001
    table_rate: float = 1.0
    residual_rate: float = 1.0
    bias_rate: float = 3.0
    cooling: float = 200.0
    coolest: float = 0.25
    table_scale: float = 0.25
    decay: float = 0.01
    clip: float = 1.0
    dropout: float = 0.1
    most_rows: int = 32_768


class Net:
    """Weights with their optimiser state, as one thing that learns.

    Args:
      seed: of dropout.
    """

    def __init__(self, config: ModelConfig, shape: BatchShape, options: NetOptions, seed: int = 0) -> None:
        self.config, self.shape, self.options = config, shape, options
        self._rng = np.random.default_rng(seed)
        self.steps = 0
        width, embedding = config.category_size, config.embedding_size
        rates = np.full(width, options.rate * options.table_rate, np.float32)
        learned = np.full(embedding + 1, options.rate * options.residual_rate, np.float32)
        learned[-1] = options.rate * options.bias_rate

        def category() -> Table:
            return Table(width, options.table_scale, rates, options.decay, options.most_rows)

        video = Table(embedding + 1, 0.0, learned, options.decay, options.most_rows)
        self.tables = Tables(category(), category(), category(), video)
        self._dense: dict[str, tf.Variable] = {}
        self._first: dict[str, tf.Variable] = {}
        self._second: dict[str, tf.Variable] = {}
        self._train = tf.function(self._train_step, jit_compile=True)
        self._score = tf.function(self._logits, jit_compile=True)

    def load(self, weights: Weights, keep_moments: bool = False) -> None:
        """Take over weights; the optimiser starts anew unless `keep_moments`."""
        for name, table in self.tables.named().items():
            moments = table.moments() if keep_moments else None
            table.load(weights[f"table.{name}.keys"], weights[f"table.{name}.rows"])
            if moments is not None:
                table.set_moments(*moments)
        for name, value in weights.items():
            if name.startswith("table."):
                continue
            if name in self._dense:
                self._dense[name].assign(value)
            else:
                self._dense[name] = tf.Variable(value, dtype=tf.float32)
                self._first[name] = tf.Variable(np.zeros(value.shape, np.float32))
                self._second[name] = tf.Variable(np.zeros(value.shape, np.float32))
        if not keep_moments:
            self.steps = 0
            for variable in (*self._first.values(), *self._second.values()):
                variable.assign(tf.zeros_like(variable))

    def export(self) -> Weights:
        """Return the weights as copies, by name."""
        weights: Weights = {name: variable.numpy() for name, variable in self._dense.items()}
        for name, table in self.tables.named().items():
            weights[f"table.{name}.keys"], weights[f"table.{name}.rows"] = table.sorted()
        return weights

    def optimiser(self) -> Weights:
        """Return the optimiser's state, by name, as copies."""
        state: Weights = {"steps": np.array([self.steps], np.int64)}
        for name in self._dense:
            state[f"first.{name}"], state[f"second.{name}"] = self._first[name].numpy(), self._second[name].numpy()
        for name, table in self.tables.named().items():
            keys, first, second = table.moments()
            state |= {f"table.{name}.keys": keys, f"table.{name}.first": first, f"table.{name}.second": second}
        return state

    def set_optimiser(self, state: Weights) -> None:
        """Go on from a state that `optimiser` returned; the weights must be loaded already."""
        self.steps = int(state["steps"][0])
        for name in self._dense:
            self._first[name].assign(state[f"first.{name}"])
            self._second[name].assign(state[f"second.{name}"])
        for name, table in self.tables.named().items():
            table.set_moments(*(state[f"table.{name}.{part}"] for part in ("keys", "first", "second")))

    def train(self, catalogue: Catalogue, batch: Batch) -> float:
        """Take one step on a batch; return its weighted mean loss before the step, in nats."""
        self.steps += 1
        places = self.tables.places(catalogue, batch, grow=True)
        content = self.tables.content(catalogue, batch, places, self.shape.videos)
        residuals = self.tables.residuals(places, self.shape.videos)
        kept = (self._rng.random((self.shape.videos, 1)) >= self.options.dropout).astype(np.float32)
        inputs = (content, residuals * kept, *_arrays(batch), batch.label, batch.weight)
        loss, for_content, for_residuals = self._train(*map(tf.constant, inputs), *self._pace())
        self.tables.update(places, for_content.numpy(), for_residuals.numpy() * kept, self.steps, self._warmth())
        return float(loss)

    def _warmth(self) -> float:
        """Return by how much every rate is multiplied at this step."""
        return float(max(self.options.coolest, (1.0 + self.steps / self.options.cooling) ** -0.5))

    def _pace(self) -> tuple[Tensor, Tensor]:
        """Return the step's rate and the corrections of Adam's moments, as tensors."""
        rate = self.options.rate * self._warmth() / (1.0 - BETA1**self.steps)
        return tf.constant(rate, tf.float32), tf.constant((1.0 - BETA2**self.steps) ** 0.5, tf.float32)

    def logits(self, catalogue: Catalogue, batch: Batch) -> Floats:
        """Return the logits [n] of a batch's examples."""
        places = self.tables.places(catalogue, batch, grow=False)
        content = self.tables.content(catalogue, batch, places, self.shape.videos)
        residuals = self.tables.residuals(places, self.shape.videos)
        found: Floats = self._score(*map(tf.constant, (content, residuals, *_arrays(batch)))).numpy()
        return found[: len(batch.slots)]

    def _logits(
        self, content: Tensor, residuals: Tensor, step_video: Tensor, behaviour: Tensor, row: Tensor, time: Tensor,
        video: Tensor,
    ) -> Tensor:  # fmt: skip
        """Return logits [N]; the arguments are `content` and `residuals` [U, ...], and the arrays of a batch."""
        dense, embedding = self._dense, self.config.embedding_size
        raw = content @ dense["video.kernel"] + dense["video.bias"] + residuals[:, :embedding]
        vectors = tf.tanh(raw) * tf.constant([[0.0]] + [[1.0]] * (self.shape.videos - 1))
        hidden = self._hidden(tf.gather(vectors, step_video), behaviour)
        users = tf.gather_nd(hidden, tf.stack([time, row], axis=1))
        users = tf.tanh(users @ dense["user.kernel"] + dense["user.bias"])
        shown = tf.gather(vectors, video)
        logits = tf.linalg.matvec(users, dense["head.user"]) + tf.linalg.matvec(shown, dense["head.video"])
        logits += dense["head.bias"]
        if "head.interaction" in dense:
            logits += tf.gather(residuals[:, embedding], video)
            logits += tf.reduce_sum((users @ dense["head.interaction"]) * shown, axis=1)
        return logits

    def _hidden(self, vectors: Tensor, behaviour: Tensor) -> Tensor:
        """Return hidden states [T+1, B, H], from zeros on, of inputs [T, B, E] and [T, B, F]."""
        dense, size = self._dense, self.config.hidden_size
        kernel, recurrent, bias = dense["gru.kernel"], dense["gru.recurrent"], dense["gru.bias"]
        steps, rows, _ = behaviour.shape
        inputs = tf.concat([vectors, behaviour], axis=2)
        projected = tf.tensordot(inputs, kernel, axes=1) + bias[0]
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

    def _train_step(self, content: Tensor, residuals: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move the dense weights by one step; return the loss and the gradients of `content` and `residuals`."""
        *arrays, label, weight, rate, correction = rest
        with tf.GradientTape() as tape:
            tape.watch([content, residuals])
            logits = self._logits(content, residuals, *arrays)
            each = tf.nn.sigmoid_cross_entropy_with_logits(label, logits)
            loss = tf.reduce_sum(each * weight) / tf.maximum(tf.reduce_sum(weight), 1.0)
        names = list(self._dense)
        *gradients, for_content, for_residuals = tape.gradient(
            loss, [*(self._dense[name] for name in names), content, residuals]
        )
        gradients, _ = tf.clip_by_global_norm(gradients, self.options.clip)
        for name, gradient in zip(names, gradients, strict=True):
            self._adam(name, gradient, rate, correction)
        return loss, for_content, for_residuals

    def _adam(self, name: str, gradient: Tensor, rate: Tensor, correction: Tensor) -> None:
        first = self._first[name].assign(BETA1 * self._first[name] + (1 - BETA1) * gradient)
        second = self._second[name].assign(BETA2 * self._second[name] + (1 - BETA2) * gradient * gradient)
        self._dense[name].assign_sub(rate * first / (tf.sqrt(second) / correction + EPSILON))


def _arrays(batch: Batch) -> tuple[NDArray[Any], ...]:
    return batch.step_video, batch.behaviour, batch.row, batch.time, batch.video
