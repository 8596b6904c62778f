"""The recurrent part of the evaluated model: a GRU over what a user was shown and how it went, for the next item.

It is served by the stream's own step (`model.gru.gru_step`); TensorFlow trains it (`model.sequence_training`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from model.gru import dense, gru_step
from streams.core.ports import Floats
from streams.core.signals import History, widened

OUTCOMES = 2  # inputs beside the item's embedding: viewed long, and not


@dataclass(frozen=True)
class SequenceConfig:
    """Sizes and training (model/evaluate.toml).

    Attributes:
      units: H, of the hidden state and of item embeddings; steps: newest events that states are made of.
      epochs, rate, batch, dropout: of the warm-up; online_rate, online_steps: of each chunk of `chunk` targets.
      negatives: sampled items per batch, drawn by recent popularity to the power `smoothing`.
      logq: share of the correction by the log of the sampling probability; 0 learns by how much an item suits a user
        beyond its popularity, which the blend knows already.
      skipped: weight of a target that was shown and skipped, against 1.
      view_weight: of the log-loss of long views among what was shown, beside the loss of the next item.
      tied: one table of items for input and output.
      fresh, replayed: newest events of a user that count in training on the stream, and in replay.
    """

    units: int = 96
    steps: int = 40
    epochs: int = 3
    rate: float = 0.003
    batch: int = 128
    dropout: float = 0.2
    online_rate: float = 0.002
    online_steps: int = 3
    chunk: int = 256
    negatives: int = 768
    smoothing: float = 0.75
    logq: float = 0.0
    skipped: float = 0.4
    view_weight: float = 0.5
    fresh: int = 3
    replayed: int = 8
    tied: bool = False


def initial_weights(items: int, units: int, seed: int) -> dict[str, Floats]:
    """Return weights to start from; `item.in` has a last row for "nothing".

    Keras GRU layout (`reset_after=True`), input = [item embedding, outcome]. Input and output embeddings are apart.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape: int, width: float) -> Floats:
        return rng.normal(0.0, width, shape).astype(np.float32)

    return {
        "item.in": normal(items + 1, units, width=0.05),
        "item.out": normal(items, units, width=0.05),
        "item.bias": np.zeros(items, np.float32),
        "gru.kernel": normal(units + OUTCOMES, 3 * units, width=(units + OUTCOMES) ** -0.5),
        "gru.recurrent": normal(units, 3 * units, width=units**-0.5),
        "gru.bias": np.zeros((2, 3 * units), np.float32),
        "user.kernel": np.eye(units, dtype=np.float32),
        "user.bias": np.zeros(units, np.float32),
        "view.kernel": normal(units, units, width=units**-0.5),
        "view.user": np.zeros(units, np.float32),
        "view.item": normal(items, units, width=0.05),
        "view.bias": np.full(items, -0.6, np.float32),
    }


class SequenceStates:
    """Hidden states of users under one version of the weights; those of an older version are rebuilt when asked for."""

    def __init__(self, weights: Mapping[str, Floats], config: SequenceConfig) -> None:
        self.config = config
        self.weights = dict(weights)
        self.version = 0
        self._hidden: Floats = np.zeros((0, config.units), np.float32)
        self._version = np.zeros(0, np.int64)
        self._waiting: dict[int, list[tuple[int, bool]]] = {}  # events since, by user; applied together when asked for

    def set_weights(self, weights: Mapping[str, Floats]) -> None:
        """Swap in new weights; every state is of an older version now, unless nothing changed."""
        if all(np.array_equal(value, self.weights[name]) for name, value in weights.items()):
            return
        self.weights = dict(weights)
        self.version += 1
        self._waiting.clear()

    @property
    def items(self) -> int:
        """Items that the weights know."""
        return len(self.weights["item.bias"])

    def scores(self, user: int, history: History | None) -> Floats:
        """Return scores [items] for the next item, less their mean; zeros for a user without history."""
        if history is None or not history.items:
            return np.zeros(self.items, np.float32)
        weights = self.weights
        hidden = self._current(user, history)[None]
        vector = np.tanh(dense(hidden, weights["user.kernel"], weights["user.bias"])[0])
        scores: Floats = weights["item.out"] @ vector + weights["item.bias"]
        scores -= scores.mean()
        return scores

    def column(self, user: int, history: History | None, size: int) -> Floats:
        """Return the scores of all items as a column [1, size] for the blend, 0 for those that are not known here."""
        column: Floats = np.zeros((1, size), np.float32)
        known = min(size, self.items)
        column[0, :known] = self.scores(user, history)[:known]
        return column

    def view(self, user: int, item: int, history: History | None) -> float:
        """Return the logit of a long view, given that `item` is shown; 0 where item or user are not known."""
        if history is None or not history.items or item >= self.items:
            return 0.0
        weights = self.weights
        hidden = self._current(user, history)
        mixed = np.tanh(hidden @ weights["view.kernel"])
        return float(mixed @ weights["view.item"][item] + hidden @ weights["view.user"] + weights["view.bias"][item])

    def _current(self, user: int, history: History) -> Floats:
        self.refresh([user], {user: history})
        if user in self._waiting:
            self._apply()
        hidden: Floats = self._hidden[user]
        return hidden

    def advance(self, user: int, item: int, positive: bool) -> None:
        """Advance a user's state by one event, if it is of this version; else it is rebuilt when it is needed."""
        self._grow(user + 1)
        if self._version[user] == self.version:
            self._waiting.setdefault(user, []).append((item, positive))

    def _apply(self) -> None:
        """Apply what waits, each user's events in order; the tiles of the step make a state's bits its own."""
        while self._waiting:
            users = list(self._waiting)
            first = [self._waiting[user].pop(0) for user in users]
            items, positive = np.array([item for item, _ in first]), np.array([good for _, good in first])
            self._hidden[users] = self._step(self._hidden[users], self._inputs(items, positive))
            self._waiting = {user: events for user, events in self._waiting.items() if events}

    def refresh(self, users: Iterable[int], histories: Mapping[int, History]) -> None:
        """Rebuild the states of those users that are of an older version, from their newest events."""
        wanted = list(users)
        self._grow(max(wanted, default=-1) + 1)
        stale = [one for one in dict.fromkeys(wanted) if self._version[one] != self.version]
        if not stale:
            return
        steps = self.config.steps
        items = np.full((len(stale), steps), -1, np.int64)
        positive = np.zeros((len(stale), steps), bool)
        for row, user in enumerate(stale):
            history = histories.get(user)
            if history is not None and history.items:
                newest = history.items[-steps:]
                items[row, steps - len(newest) :] = newest
                positive[row, steps - len(newest) :] = history.positive[-steps:]
        hidden = np.zeros((len(stale), self.config.units), np.float32)
        for step in range(steps):
            live = np.flatnonzero(items[:, step] >= 0)
            if len(live):
                hidden[live] = self._step(hidden[live], self._inputs(items[live, step], positive[live, step]))
        self._hidden[stale] = hidden
        self._version[stale] = self.version

    def _inputs(self, items, positive) -> Floats:  # type: ignore[no-untyped-def]
        table = self.weights["item.in"]
        rows = np.where(items < self.items, items, self.items)
        return np.concatenate([table[rows], positive[:, None], ~positive[:, None]], axis=1).astype(np.float32)

    def _step(self, hidden: Floats, inputs: Floats) -> Floats:
        weights = self.weights
        return gru_step(hidden, inputs, weights["gru.kernel"], weights["gru.recurrent"], weights["gru.bias"])

    def _grow(self, users: int) -> None:
        self._hidden = widened(self._hidden, users, 0)
        have = len(self._version)
        if have < len(self._hidden):
            grown = np.full(len(self._hidden), -1, np.int64)
            grown[:have] = self._version
            self._version = grown
