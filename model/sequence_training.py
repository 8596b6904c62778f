"""Training of the evaluated GRU: sampled softmax for the next item, windows of users' newest events, Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.sequence import OUTCOMES, SequenceConfig
from streams.core.ports import Floats
from streams.core.signals import History

Tensor = Any  # TensorFlow ships no types


class SequenceTrainer:
    """The weights as variables, with their optimiser state; both last over the whole stream.

    Args:
      weights: to start from; the item tables keep their size, so give room for items to come.
    """

    def __init__(self, weights: Mapping[str, Floats], config: SequenceConfig, seed: int) -> None:
        self.config = config
        tf.keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        self._rng = np.random.default_rng(seed)
        self._weights = {name: tf.Variable(value) for name, value in weights.items()}
        self._first = {name: tf.Variable(tf.zeros_like(value)) for name, value in self._weights.items()}
        self._second = {name: tf.Variable(tf.zeros_like(value)) for name, value in self._weights.items()}
        self._steps = tf.Variable(0.0)
        self._noise = tf.random.Generator.from_seed(seed)
        self._train = tf.function(self._train_step)
        self.popularity = np.zeros(len(weights["item.bias"]))

    def export(self) -> dict[str, Floats]:
        """Return the weights as copies."""
        found = {name: value.numpy().copy() for name, value in self._weights.items()}
        if self.config.tied:
            found["item.in"][:-1] = found["item.out"]
        return found

    def warm(self, histories: Mapping[int, History], tell: Any = None) -> float:
        """Train for the configured epochs over all users; return the last epoch's mean loss in nats."""
        users = [user for user, history in histories.items() if len(history.items) > 1]
        for user in users:
            known = [item for item in histories[user].items if item < len(self.popularity)]
            np.add.at(self.popularity, known, 1.0)
        mean = float("nan")
        size, steps = self.config.batch, self.config.steps
        per_epoch = max(1, len(users) // size)
        for epoch in range(self.config.epochs):
            rate = self.config.rate * (0.4 if epoch == self.config.epochs - 1 else 1.0)
            order = self._rng.permutation(len(users))
            losses = []
            for number in range(per_epoch):
                chosen = [users[at] for at in order[number * size : (number + 1) * size]]
                losses.append(self.step([(histories[user], steps) for user in chosen], rate))
                if tell is not None:
                    tell(epoch * per_epoch + number + 1, self.config.epochs * per_epoch)
            mean = float(np.mean(losses))
        return mean

    def observe(self, items: Sequence[int]) -> None:
        """Take in what was shown in a chunk: negatives are drawn by recent popularity."""
        self.popularity *= 0.985
        known = [item for item in items if item < len(self.popularity)]
        np.add.at(self.popularity, known, 2.0)

    def step(self, windows: Sequence[tuple[History, int]], rate: float) -> float:
        """Take one step on the newest events of users: (history, how many of its newest events are targets)."""
        items, outcomes, targets, weights = self._batch(windows)
        if not weights.any():
            return float("nan")
        chances = (self.popularity + 0.5) ** self.config.smoothing
        chances /= chances.sum()
        count = self.config.negatives
        negatives = self._rng.choice(len(chances), count, p=chances).astype(np.int32)
        correction = (self.config.logq * np.log(chances * count)).astype(np.float32)
        loss = self._train(
            *map(tf.constant, (items, outcomes, targets, weights, negatives, correction, np.float32(rate)))
        )
        return float(loss)

    def _batch(
        self, windows: Sequence[tuple[History, int]]
    ) -> tuple[NDArray[np.int32], Floats, NDArray[np.int32], Floats]:
        rows, steps, none = self.config.batch, self.config.steps, len(self.popularity)
        items = np.full((rows, steps), none, np.int32)
        outcomes = np.zeros((rows, steps, OUTCOMES), np.float32)
        targets = np.zeros((rows, steps), np.int32)
        weights = np.zeros((rows, steps), np.float32)
        for row, (history, newest) in enumerate(windows[:rows]):
            shown = np.minimum(history.items[-steps - 1 :], none)
            positive = np.array(history.positive[-steps - 1 :], np.float32)
            count = len(shown) - 1
            if count < 1:
                continue
            items[row, :count], targets[row, :count] = shown[:-1], np.minimum(shown[1:], none - 1)
            outcomes[row, :count, 0], outcomes[row, :count, 1] = positive[:-1], 1.0 - positive[:-1]
            graded = np.where(positive[1:] > 0, np.float32(1.0), np.float32(self.config.skipped))
            weights[row, :count] = graded * (shown[1:] < none)
            weights[row, : max(0, count - newest)] = 0.0
        return items, outcomes, targets, weights

    def _train_step(
        self, items: Tensor, outcomes: Tensor, targets: Tensor, weights: Tensor, negatives: Tensor,
        correction: Tensor, rate: Tensor,
    ) -> Tensor:  # fmt: skip
        own = self._weights
        with tf.GradientTape() as tape:
            live = tf.where(tf.reshape(weights, [-1]) > 0)[:, 0]
            hidden = tf.gather(tf.reshape(self._hidden(items, outcomes), [-1, self.config.units]), live)
            vectors = self._drop(tf.tanh(hidden @ own["user.kernel"] + own["user.bias"]))
            target, weight = (tf.gather(tf.reshape(one, [-1]), live) for one in (targets, weights))
            right = tf.reduce_sum(vectors * tf.gather(own["item.out"], target), -1)
            right += tf.gather(own["item.bias"] - correction, target)
            wrong = tf.matmul(vectors, tf.gather(own["item.out"], negatives), transpose_b=True)
            wrong += tf.gather(own["item.bias"] - correction, negatives)
            wrong -= 1e9 * tf.cast(negatives[None] == target[:, None], tf.float32)
            each = tf.reduce_logsumexp(tf.concat([right[:, None], wrong], 1), 1) - right
            loss = tf.reduce_sum(weight * each) / tf.reduce_sum(weight)
            loss += self.config.view_weight * self._view_loss(hidden, target, tf.cast(weight >= 1.0, tf.float32))
        self._adam(tape.gradient(loss, own), rate)
        return loss

    def _view_loss(self, hidden: Tensor, target: Tensor, viewed: Tensor) -> Tensor:
        """Return the mean log-loss of `viewed` [M], given hidden states [M, H] and what was shown then [M]."""
        own = self._weights
        mixed = self._drop(tf.tanh(hidden @ own["view.kernel"]))
        logits = tf.reduce_sum(mixed * tf.gather(own["view.item"], target), -1) + tf.gather(own["view.bias"], target)
        logits += tf.linalg.matvec(hidden, own["view.user"])
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(viewed, logits))

    def _hidden(self, items: Tensor, outcomes: Tensor) -> Tensor:
        """Return hidden states [B, T, H] after each step."""
        own, size = self._weights, self.config.units
        table = tf.concat([own["item.out"], own["item.in"][-1:]], 0) if self.config.tied else own["item.in"]
        inputs = self._drop(tf.concat([tf.gather(table, items), outcomes], -1))
        outer = tf.transpose(tf.tensordot(inputs, own["gru.kernel"], 1) + own["gru.bias"][0], [1, 0, 2])
        hidden = tf.zeros([self.config.batch, size])
        found = []
        for step in range(self.config.steps):
            inner = hidden @ own["gru.recurrent"] + own["gru.bias"][1]
            gates = tf.sigmoid(outer[step][:, : 2 * size] + inner[:, : 2 * size])
            update, reset = gates[:, :size], gates[:, size:]
            candidate = tf.tanh(outer[step][:, 2 * size :] + reset * inner[:, 2 * size :])
            hidden = update * hidden + (1.0 - update) * candidate
            found.append(hidden)
        return tf.stack(found, 1)

    def _drop(self, values: Tensor) -> Tensor:
        if not self.config.dropout:
            return values
        keep = tf.cast(self._noise.uniform(tf.shape(values)) >= self.config.dropout, tf.float32)
        return values * keep / (1.0 - self.config.dropout)

    def _adam(self, gradients: Mapping[str, Tensor], rate: Tensor) -> None:
        self._steps.assign_add(1.0)
        for name, gradient in gradients.items():
            gradient = tf.convert_to_tensor(gradient)
            first, second = self._first[name], self._second[name]
            first.assign(0.9 * first + 0.1 * gradient)
            second.assign(0.999 * second + 0.001 * gradient * gradient)
            moved = (first / (1 - 0.9**self._steps)) / (tf.sqrt(second / (1 - 0.999**self._steps)) + 1e-7)
            self._weights[name].assign_sub(rate * moved)
