"""Will it be watched? The probability of a long view, given that an item is shown: rates, taste, and the GRU's opinion.

Every exposure is predicted before it is learned. Two predictions are made, with the surface of the request and without.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.adam import AdamNetwork
from model.datasets import UNKNOWN, Before, Content
from model.effects import Effects
from model.inputs import HOUR_MS, SURFACES, Exposure, Request
from model.rates import Rates
from streams.core.ports import Floats
from streams.core.signals import History, recency


@dataclass(frozen=True)
class ViewConfig:
    """Of the model of long views (model/evaluate.toml).

    Attributes:
      prior: long views per exposure that rates are drawn to.
      hidden, members: units of a network, and networks whose logits are averaged.
      rate, batch, replay, memory: Adam's step size, exposures per step, further steps per batch, exposures kept.
      decay: weight decay, per unit of step size.
      additive: share of the additive effects' own logit in the prediction; the networks have the rest.
    """

    prior: float = 0.33
    hidden: int = 64
    members: int = 6
    rate: float = 0.0005
    batch: int = 64
    replay: int = 3
    memory: int = 60_000
    decay: float = 1e-4
    additive: float = 0.2


_LONG = 1e6 * HOUR_MS
#: name, half-life in ms, strength of the prior; the key is made by `_keys`.
_PLAIN = (
    ("item", _LONG, 10.0), ("user", _LONG, 4.0), ("author", _LONG, 10.0), ("tag", _LONG, 10.0),
    ("length", _LONG, 10.0), ("user_length", _LONG, 4.0), ("user_tag", _LONG, 4.0), ("hour", _LONG, 50.0),
    ("item_day", 12 * HOUR_MS, 5.0), ("item_days", 72 * HOUR_MS, 5.0), ("user_hour", HOUR_MS, 2.0),
    ("user_day", 24 * HOUR_MS, 2.0),
)  # fmt: skip
_BY_SURFACE = (
    ("surface", _LONG, 10.0), ("user_surface", _LONG, 3.0), ("item_surface", _LONG, 3.0),
    ("length_surface", _LONG, 10.0), ("tag_surface", _LONG, 10.0),
)  # fmt: skip
_EXTRA = 27
#: Precisions of additive effects, by the names of `_keys`.
_EFFECTS = {
    "told": 0.01, "user": 1.6, "item": 5.0, "author": 20.0, "tag": 20.0, "length": 30.0, "user_length": 20.0,
    "user_tag": 50.0, "user_date": 4.0,
}  # fmt: skip
_SURFACE_EFFECTS = {
    "surface": 0.01, "user_surface": 10.0, "item_surface": 50.0, "length_surface": 200.0, "tag_surface": 250.0
}  # fmt: skip


class ViewModel:
    """Features, networks and memory of the prediction; advanced event by event."""

    def __init__(
        self, config: ViewConfig, content: Content, surfaces: bool, seed: int, before: Mapping[int, Before]
    ) -> None:
        self.config, self.surfaces = config, surfaces
        self._before = {user: _told(one) for user, one in before.items()}
        self._nothing = _told(Before())
        self.rates = Rates(config.prior)
        self.ratios: dict[Hashable, list[float]] = {}
        self._tag = [tags[0] if tags else "" for tags in content.tags]
        self._author = list(content.authors)
        seconds = np.array(content.duration_ms, np.float64) / 1000.0
        self._log_duration = np.log1p(seconds)
        edges = np.quantile(seconds[seconds > 0], np.linspace(0, 1, 13)[1:-1]) if (seconds > 0).any() else [0.0]
        self._length = np.digitize(seconds, edges)
        self.plain = len(_PLAIN) + _EXTRA
        self.size = self.plain + (len(_BY_SURFACE) + len(SURFACES) + 1 if surfaces else 0)
        sizes = {"without_surface": self.plain, **({"with_surface": self.size} if surfaces else {})}
        precisions = {"without_surface": _EFFECTS, "with_surface": _EFFECTS | _SURFACE_EFFECTS}
        self.effects = {name: Effects(precisions[name]) for name in sizes}
        self.learners = {name: Learner(size, config, seed) for name, size in sizes.items()}
        self.last_ratio: dict[int, float] = {}

    def features(self, request: Request, item: int, history: History | None, taste: tuple[float, ...]) -> Floats:
        """Return the features of an exposure; `taste` are four scores of the item for the user, 0 where not known."""
        user, at_ms, surface = request.user, request.time_ms, request.surface
        keys = self._keys(user, item, at_ms, surface)
        rates = [self.rates.logit(keys[name], at_ms, life, strength) for name, life, strength in _PLAIN]
        items, users = (self.rates.counts(keys[name], at_ms, _LONG)[1] for name in ("item", "user"))
        last = [float(one) for one in (history.positive[-3:] if history else [])]
        gap = max(0.05, (at_ms - history.last_ms) / 1000.0) if history and history.items else 3e5
        hour = 2.0 * np.pi * (at_ms / (24.0 * HOUR_MS) % 1.0)
        prior = float(np.log(self.config.prior / (1.0 - self.config.prior)))
        extra = [
            np.log1p(items), np.log1p(users), *self._busy(keys, at_ms), rates[0] + rates[1] - prior,
            self._mean(("item", item)), self._mean(("user", user)), *([0.35] * (3 - len(last)) + last),
            self._log_duration[item] if item < len(self._log_duration) else 0.0, np.log(min(gap, 3e5)),
            self.last_ratio.get(user, 0.5) if gap < 900 else 0.5, np.sin(hour), *taste, *_of_history(history),
            *self._before.get(user, self._nothing), self.effects["without_surface"].logit(keys),
        ]  # fmt: skip
        found = rates + extra
        if self.surfaces:
            if surface == UNKNOWN:
                found += [prior] * len(_BY_SURFACE)
            else:
                found += [self.rates.logit(keys[name], at_ms, life, strength) for name, life, strength in _BY_SURFACE]
            found += [*(float(surface == one) for one in SURFACES), self.effects["with_surface"].logit(keys)]
        return np.array(found, np.float32)

    def _busy(self, keys: Mapping[str, Hashable], at_ms: float) -> list[float]:
        """Return logarithms of the decayed exposures of the user (a day, an hour) and of the item (12 h, 3 days)."""
        lives = {"user_day": 24, "user_hour": 1, "item_day": 12, "item_days": 72}
        counts = [self.rates.counts(keys[name], at_ms, life * HOUR_MS)[1] for name, life in lives.items()]
        return [float(one) for one in np.log1p(counts)]

    def logits(self, features: Floats) -> dict[str, float]:
        """Return the logits of a long view, with and without the surface."""
        return {name: learner.logit(features) for name, learner in self.learners.items()}

    def learn(self, features: Floats, positive: bool) -> None:
        """Learn from an exposure that was predicted."""
        for learner in self.learners.values():
            learner.learn(features, positive)

    def begin(self, events: Iterable[Exposure]) -> None:
        """Take in a warm-up, once and first; only what says something of rates counts."""
        for event in events:
            if event.rated:
                keys = self._count(event)
                for effects in self.effects.values():
                    effects.collect(keys, event.positive)
        for effects in self.effects.values():
            effects.fit()

    def observe(self, event: Exposure) -> None:
        """Count an exposure whose outcome says something of rates, and learn its effects."""
        keys = self._count(event)
        for effects in self.effects.values():
            effects.learn(keys, event.positive)

    def _count(self, event: Exposure) -> dict[str, Hashable]:
        user, item, at_ms, surface = event.user, event.item, event.time_ms, event.surface
        keys = self._keys(user, item, at_ms, surface)
        for name, life, _ in _PLAIN:
            self.rates.add(keys[name], at_ms, life, event.positive)
        if surface != UNKNOWN:
            for name, life, _ in _BY_SURFACE:
                self.rates.add(keys[name], at_ms, life, event.positive)
            for key in (("item", item), ("user", user)):
                sums = self.ratios.setdefault(key, [0.0, 0.0])
                sums[0] += min(event.ratio, 3.0)
                sums[1] += 1.0
            self.last_ratio[user] = min(event.ratio, 2.0)
        return keys

    def _mean(self, key: Hashable) -> float:
        total, count = self.ratios.get(key, (0.0, 0.0))
        return (total + 2.0) / (count + 3.0)

    def _keys(self, user: int, item: int, at_ms: int, surface: int) -> dict[str, Hashable]:
        known = item < len(self._tag)
        tag = self._tag[item] if known else ""
        author = self._author[item] if known else ""
        length = int(self._length[item]) if known else -1
        return {
            "item": ("i", item), "user": ("u", user), "author": ("a", author), "tag": ("t", tag),
            "length": ("l", length),
            "user_length": ("ul", user, length // 2), "user_tag": ("ut", user, tag),
            "hour": ("h", int(at_ms // HOUR_MS) % 24), "item_day": ("i1", item), "item_days": ("i3", item),
            "user_hour": ("u0", user), "user_day": ("u1", user), "surface": ("s", surface),
            "user_surface": ("us", user, surface), "item_surface": ("is", item, surface),
            "length_surface": ("ls", length, surface), "tag_surface": ("ts", tag, surface),
            "told": ("b", surface != UNKNOWN), "user_date": ("ud", user, int(at_ms // (24 * HOUR_MS))),
        }  # fmt: skip


def _told(before: Before) -> tuple[float, ...]:
    """Return how much a user was shown, in all and before the rated events, and logits of older views and likes.

    Rates are drawn to .27 and .03, about the means of the log.
    """
    older = np.log((before.older_positive + 1.08) / (before.older - before.older_positive + 2.92))
    shown = max(before.shown, before.liked)
    liked = np.log((before.liked + 0.6) / (shown - before.liked + 19.4))
    return float(np.log1p(before.shown)), float(np.log1p(before.older)), float(older), float(liked)


def _of_history(history: History | None) -> tuple[float, float]:
    """Return the share of long views among the last ten exposures, and how many are remembered, 1 for 25."""
    if history is None or not history.items:
        return 0.33, 0.0
    return float(np.mean(history.positive[-10:])), min(len(history.items), 50) / 25


def taste_scores(item: int, history: History | None, vectors: Floats, ease: Floats, view: float) -> tuple[float, ...]:
    """Return four scores of an item for a user.

    Likeness to what was viewed long and to what was skipped, EASE weights from the one less those from the other, and
    `view`, the GRU's logit of a long view.
    """
    liked = skipped = weighted = 0.0
    if history is not None and history.items and item < len(vectors):
        items = np.array(history.items[-40:])
        positive = np.array(history.positive[-40:])
        weights = recency(len(items), 0.95)
        own = vectors[item] / np.float32(np.linalg.norm(vectors[item]) + 1e-3)
        others = vectors[items]
        alike = (others @ own) / (np.linalg.norm(others, axis=1) + np.float32(1e-3)) * weights
        liked = float(alike[positive].sum() / max(1, positive.sum()))
        skipped = float(alike[~positive].sum() / max(1, (~positive).sum()))
        known = items < len(ease)
        if item < len(ease) and known.any():
            signs = np.where(positive[known], 1.0, -1.0) * weights[known]
            weighted = float(signs @ ease[items[known], item]) * 10.0
    return liked, skipped, weighted, view


class Learner:
    """Networks whose logits are averaged, learning online with replay. The last feature is a logit already."""

    def __init__(self, size: int, config: ViewConfig, seed: int) -> None:
        self.size, self.config = size, config
        self._rng = np.random.default_rng(seed)
        self._members = [_Net(size, config, seed * 97 + number) for number in range(config.members)]
        self._features = np.zeros((config.memory, size), np.float16)
        self._labels = np.zeros(config.memory, np.float32)
        self._count = self._fresh = 0
        self._mean: Floats = np.zeros(size, np.float32)
        self._spread: Floats = np.ones(size, np.float32)
        self._ready = False

    @property
    def steps(self) -> int:
        """Steps of learning so far."""
        return self._members[0].steps

    def held(self) -> Learner:
        """Return a copy that predicts as this one does now, and must not learn."""
        other = copy(self)
        other._members = [member.held() for member in self._members]
        return other

    def logit(self, features: Floats) -> float:
        """Return the mean logit of the members, mixed with the additive one."""
        additive = float(features[self.size - 1])
        if not self._ready:
            return additive
        ready = self._normal(features[None, : self.size])
        own = float(np.mean([member.forward(ready)[0][0] for member in self._members]))
        return own + self.config.additive * (additive - own)

    def learn(self, features: Floats, positive: bool) -> None:
        """Store an exposure; step once a batch is full."""
        at = self._count % self.config.memory
        self._features[at], self._labels[at] = features[: self.size], positive
        self._count += 1
        self._fresh += 1
        if not self._ready:
            if self._count >= 512:
                self._fit()
        elif self._fresh >= self.config.batch:
            newest = np.arange(self._count - self._fresh, self._count) % self.config.memory
            self._fresh = 0
            for member in self._members:
                self._step(member, newest)
                for _ in range(self.config.replay):
                    size = min(self._count, self.config.memory)
                    self._step(member, self._rng.integers(0, size, self.config.batch))

    def _step(self, member: _Net, rows: NDArray[np.int64]) -> None:
        member.learn(self._normal(self._features[rows].astype(np.float32)), self._labels[rows])

    def _fit(self) -> None:
        known = self._features[: self._count].astype(np.float32)
        self._mean, self._spread = known.mean(0), np.maximum(known.std(0), np.float32(0.6))
        self._ready = True

    def _normal(self, features: Floats) -> Floats:
        ready: Floats = np.clip((features - self._mean) / self._spread, -5.0, 5.0)
        return ready


class _Net(AdamNetwork):
    """logit = x·w + v·leaky(x A + b) + c, by Adam with weight decay."""

    def __init__(self, size: int, config: ViewConfig, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.config = config
        parameters: dict[str, Floats] = {
            "inner": rng.normal(0.0, size**-0.5, (size, config.hidden)).astype(np.float32),
            "bias": np.zeros(config.hidden, np.float32),
            "outer": np.zeros(config.hidden, np.float32),
            "linear": np.zeros(size, np.float32),
            "constant": np.full(1, np.log(config.prior / (1 - config.prior)), np.float32),
        }
        super().__init__(parameters, 0.999)

    def forward(self, features: Floats) -> tuple[Floats, Floats]:
        """Return logits [B] and hidden units [B, hidden] of features [B, F]."""
        own = self.parameters
        hidden = features @ own["inner"] + own["bias"]
        hidden = np.maximum(hidden, np.float32(0.1) * hidden)
        return features @ own["linear"] + hidden @ own["outer"] + own["constant"], hidden

    def learn(self, features: Floats, labels: Floats) -> None:
        """Make one step on the mean log-loss."""
        logits, hidden = self.forward(features)
        errors = (1.0 / (1.0 + np.exp(-logits)) - labels) / np.float32(len(labels))
        inner = errors[:, None] * self.parameters["outer"] * np.where(hidden > 0, np.float32(1.0), np.float32(0.1))
        gradients = {
            "inner": features.T @ inner, "bias": inner.sum(0), "outer": hidden.T @ errors,
            "linear": features.T @ errors, "constant": errors.sum(keepdims=True),
        }  # fmt: skip
        self.move(gradients, self.config.rate, self.config.decay)
