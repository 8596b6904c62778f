"""The blend: a linear scorer picks candidates from the whole catalogue, a small network orders them; both learn online.

Both minimise the softmax cross-entropy of the item that was viewed. Variants of the network that see the same
candidates, with and without further columns, learn side by side from the same examples, so that a comparison between
them is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.adam import AdamNetwork
from streams.core.ports import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class BlendConfig:
    """Sizes and step sizes (model/evaluate.toml).

    Attributes:
      candidates: that the network orders; the others follow in the linear order.
      hidden: units; batch: targets per step; replay: further steps per batch, from the newest `memory` targets.
      negatives: candidates that a stored example keeps.
      linear_rate, linear_batch: AdaGrad of the linear scorer; rate: Adam of the network.
      fit_after: targets from whose candidates the scales of the network's inputs are measured.
    """

    candidates: int = 500
    hidden: int = 64
    batch: int = 64
    replay: int = 2
    memory: int = 12_000
    negatives: int = 120
    linear_rate: float = 0.1
    linear_batch: int = 16
    rate: float = 0.002
    fit_after: int = 256


class LinearScorer:
    """Softmax over the whole catalogue, linear in the features, by AdaGrad. Source: Duchi, Hazan and Singer 2011."""

    def __init__(self, features: int, logs: NDArray[np.bool_], config: BlendConfig) -> None:
        self.config = config
        self.weights = np.zeros(features)
        self._squares = np.ones(features)
        self._gradient = np.zeros(features)
        self._waiting = 0
        self._floor = np.where(logs, 0.5, 0.02)
        self._spread = np.ones(features)
        self._measured = 0
        self._seen = 0

    @property
    def scale(self) -> NDArray[np.float64]:
        """Spread [F] of each feature over the items, with a floor."""
        return np.maximum(self._spread, self._floor)

    def held(self) -> LinearScorer:
        """Return a copy that scores as this one does now, and must not learn."""
        other = copy(self)
        other.weights, other._spread = self.weights.copy(), self._spread.copy()
        return other

    def scores(self, features: Floats) -> Floats:
        """Return scores [N] from features [F, N]."""
        result: Floats = (self.weights / self.scale).astype(np.float32) @ features
        return result

    def learn(self, features: Floats, scores: Floats, target: int) -> None:
        """Take one example; `scores` [N] are -inf for items that are taken out."""
        if not self.config.linear_rate:
            return  # the scales stay as they are, too
        if self._seen % 50 == 0:
            self._measured += 1
            spread = features.std(1)
            self._spread += (spread - self._spread) / min(self._measured, 50)
        self._seen += 1
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        self._gradient += (features @ chances - features[:, target]) / self.scale
        self._waiting += 1
        if self._waiting == self.config.linear_batch:
            mean = self._gradient / self._waiting
            self._squares += mean * mean
            self.weights -= self.config.linear_rate * mean / np.sqrt(self._squares)
            self._gradient[:] = 0.0
            self._waiting = 0


class Network(AdamNetwork):
    """One hidden layer beside a linear path; context enters the hidden layer alone, where it can gate.

    score = x·w + v·leaky(x A + c C + b), with x [F] the features of a candidate and c [C] the context.
    """

    def __init__(self, features: int, context: int, config: BlendConfig, seed: int) -> None:
        rng = np.random.default_rng(seed)
        width = 1.0 / np.sqrt(features + context)
        hidden = config.hidden
        self.rate = config.rate
        parameters: dict[str, Floats] = {
            "features": rng.normal(0.0, width, (features, hidden)).astype(np.float32),
            "context": np.zeros((context, hidden), np.float32),  # what a warm-up cannot vary must not matter
            "bias": np.zeros(hidden, np.float32),
            "output": (rng.normal(0.0, 0.3, hidden) / np.sqrt(hidden)).astype(np.float32),
            "linear": np.zeros(features, np.float32),
        }
        super().__init__(parameters, 0.99)

    def scores(self, features: Floats, context: Floats) -> Floats:
        """Return scores [B, N] of features [B, N, F] with context [B, C]."""
        return self._forward(features, context)[0]

    def _forward(self, features: Floats, context: Floats) -> tuple[Floats, Floats]:
        own = self.parameters
        hidden = features @ own["features"]
        hidden += (context @ own["context"] + own["bias"])[:, None, :]
        hidden = np.maximum(hidden, np.float32(0.1) * hidden)
        return features @ own["linear"] + hidden @ own["output"], hidden

    def learn(self, features: Floats, context: Floats, offsets: Floats) -> None:
        """Make one step of Adam on examples whose target stands first.

        Args:
          features: [B, 1 + negatives, F]; offsets: [B, 1 + negatives], added to the scores: the log of how many
            candidates each negative stands for, -inf where it is the target itself.
        Source: sampled softmax as Bengio and Senécal 2008.
        """
        own = self.parameters
        scores, hidden = self._forward(features, context)
        scores = scores + offsets
        scores -= scores.max(1, keepdims=True)
        errors = np.exp(scores)
        errors /= errors.sum(1, keepdims=True)
        errors[:, 0] -= 1.0
        errors /= np.float32(len(errors))
        inner = errors[:, :, None] * own["output"]
        inner *= np.where(hidden > 0.0, np.float32(1.0), np.float32(0.1))
        flat = features.reshape(-1, features.shape[-1])
        gradients = {
            "features": flat.T @ inner.reshape(-1, inner.shape[-1]),
            "context": context.T @ inner.sum(1),
            "bias": inner.sum((0, 1)),
            "output": hidden.reshape(-1, hidden.shape[-1]).T @ errors.reshape(-1),
            "linear": flat.T @ errors.reshape(-1),
        }
        self.move(gradients, self.rate)


class _Memory:
    """A ring of examples: target first, then negatives drawn from the candidates."""

    def __init__(self, size: int, negatives: int, features: int, context: int) -> None:
        self.features = np.zeros((size, 1 + negatives, features), np.float16)
        self.context = np.zeros((size, context), np.float32)
        self.offsets = np.zeros((size, 1 + negatives), np.float32)
        self.count = 0

    def add(self, features: Floats, context: Floats, offsets: Floats) -> None:
        at = self.count % len(self.features)
        self.features[at], self.context[at], self.offsets[at] = features, context, offsets
        self.count += 1

    def newest(self, count: int) -> Ints:
        return np.arange(self.count - count, self.count) % len(self.features)


@dataclass
class Candidates:
    """What a scoring leaves behind for learning: the candidates' places, features [M, F] and the linear scores [N]."""

    table: Floats
    context: Floats
    linear: Floats
    places: Ints
    features: Floats


class Blend:
    """Linear scorer, and networks by name that see the first so many columns of the candidates' features.

    Args:
      logs: bool [F], which features of the table are logarithms of counts.
      variants: name to the number of columns; those beyond F are given with `extra`.
    """

    def __init__(
        self, logs: NDArray[np.bool_], context: int, variants: Mapping[str, int], config: BlendConfig, seed: int
    ) -> None:
        self.config = config
        self.linear = LinearScorer(len(logs), logs, config)
        self.columns = max(variants.values())
        self.variants = dict(variants)
        self.networks = {name: Network(columns, context, config, seed) for name, columns in variants.items()}
        self._memory = _Memory(config.memory, config.negatives, self.columns, context)
        self._rng = np.random.default_rng(seed + 1)
        self._fresh = 0
        self._scales: tuple[Floats, Floats, Floats, Floats] | None = None

    def held(self, *names: str) -> Blend:
        """Return a copy with some of the networks that scores as this one does now, and must not learn."""
        other = copy(self)
        other.linear = self.linear.held()
        other.networks = {name: self.networks[name].held() for name in names}
        return other

    def scores(
        self, table: Floats, context: Floats, hidden: Sequence[int], extra: Floats | None = None
    ) -> tuple[dict[str, Floats], Candidates]:
        """Score the whole catalogue.

        Args:
          table: [F, N] features; hidden: items that are taken out; extra: [X, N] further columns.
        Returns: scores [N] by variant, and what `learn` needs.
        """
        linear = self.linear.scores(table)
        linear[hidden] = -np.inf
        count = min(self.config.candidates, len(linear))
        places = np.argpartition(-linear, count - 1)[:count]
        features = table[:, places].T
        if extra is not None:
            features = np.concatenate([features, extra[:, places].T], axis=1)
        shown = dict.fromkeys(self.networks, linear)
        if self._scales is not None:
            ready, prepared = self._normal(features[None], context[None])
            for name, network in self.networks.items():
                scores = network.scores(ready[:, :, : self.variants[name]], prepared)[0]
                shown[name] = _above(linear, places, scores)
        return shown, Candidates(table, context, linear, places, features)

    def learn(self, candidates: Candidates, target: int) -> None:
        """Learn from the item that was viewed."""
        self.linear.learn(candidates.table, candidates.linear, target)
        among = np.flatnonzero(candidates.places == target)
        if not len(among):
            return
        count, kept = len(candidates.places), self.config.negatives
        drawn = self._rng.integers(0, count, kept)
        offsets = np.full(1 + kept, np.log(count / kept), np.float32)
        offsets[0] = 0.0
        offsets[1:][drawn == among[0]] = -np.inf
        self._memory.add(candidates.features[np.concatenate([among[:1], drawn])], candidates.context, offsets)
        self._fresh += 1
        if self._scales is None:
            if self._memory.count >= self.config.fit_after:
                self._fit()
        elif self._fresh >= self.config.batch:
            self._step(self._memory.newest(self._fresh))
            self._fresh = 0
            for _ in range(self.config.replay):
                size = min(self._memory.count, len(self._memory.features))
                self._step(np.sort(self._rng.integers(0, size, self.config.batch)))

    def _fit(self) -> None:
        """Measure the scales of the inputs, once."""
        rows = self._memory.newest(self._memory.count)
        features = self._memory.features[rows].astype(np.float32)
        spread = np.maximum((features - features.mean(1, keepdims=True)).std((0, 1)), 1e-3)
        context = self._memory.context[rows]
        steady = np.maximum(context.std(0), np.float32(0.3))
        self._scales = features.mean((0, 1)), spread.astype(np.float32), context.mean(0), steady

    def _normal(self, features: Floats, context: Floats) -> tuple[Floats, Floats]:
        assert self._scales is not None
        mean, spread, context_mean, context_spread = self._scales
        ready = np.clip((features - mean) / spread, -8.0, 8.0)
        return ready, np.clip((context - context_mean) / context_spread, -8.0, 8.0)

    def _step(self, rows: Ints) -> None:
        features, context = self._normal(self._memory.features[rows].astype(np.float32), self._memory.context[rows])
        for name, network in self.networks.items():
            network.learn(features[:, :, : self.variants[name]], context, self._memory.offsets[rows])


def _above(linear: Floats, places: Ints, scores: Floats) -> Floats:
    """Return scores [N] in which the candidates stand above all others, which keep the linear order.

    An item that was taken out, or whose linear score is not finite, keeps that score.
    """
    allowed = np.isfinite(linear[places])
    out: Floats = linear.astype(np.float32, copy=True)
    kept = linear[np.isfinite(linear)]
    if not allowed.any() or not len(kept):
        return out
    floor = float(scores[allowed].min())
    rest = np.isfinite(out)
    out[rest] -= np.float32(kept.max() - floor + 1.0)
    out[places[allowed]] = scores[allowed]
    return out
