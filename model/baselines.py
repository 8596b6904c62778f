"""Plain baselines that are run in the same command: popularity, decayed popularity, first-order Markov, item-kNN."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from model.datasets import Dataset
from model.inputs import HOUR_MS, Exposure, Request, exposures
from streams.core.ports import Floats
from streams.core.signals import DecayedCounts, History, PairCounts

HALF_LIFE_MS = 6 * HOUR_MS
FOREVER_MS = 1e6 * HOUR_MS
NEIGHBOURS = 10


class Baselines:
    """Plain baselines side by side, on positive events alone; `item_knn_last` looks at the newest item only.

    Source: Sarwar et al. 2001, item-based collaborative filtering; the last-item form as in Hidasi et al. 2016.

    Args:
      learning: False keeps counts and co-occurrence as after the warm-up.
    """

    names: tuple[str, ...] = ("popularity", "decayed_popularity", "markov", "item_knn", "item_knn_last")

    def __init__(self, data: Dataset, dense_items: int, learning: bool) -> None:
        self.learning = True
        self._size = 0
        start = int(data.warm.time_ms[-1]) if len(data.warm) else 0
        self._popularity = DecayedCounts((FOREVER_MS, HALF_LIFE_MS), start)
        self._next, self._pairs = PairCounts(dense_items), PairCounts(dense_items)
        self._histories: dict[int, History] = defaultdict(History)
        self._grow(data.catalogue)
        warm = data.warm
        for event in exposures(warm):
            self.observe(event)
        self.learning = learning

    def _grow(self, size: int) -> None:
        self._size = max(self._size, size)
        self._popularity.grow(size)
        for pairs in (self._next, self._pairs):
            pairs.grow(size)

    def prepare(self, users: Iterable[int]) -> None:
        """Nothing needs to be prepared."""

    def scores(self, request: Request) -> Mapping[str, Floats]:
        """Return scores [N] by baseline."""
        size = self._size
        ever, decayed = self._popularity.at(float(request.time_ms))[:, :size]
        following: Floats = np.zeros(size, np.float32)
        similar = nearest = following
        history = self._histories.get(request.user)
        if history is not None and history.items:
            last = history.items[-NEIGHBOURS:]
            following = self._next.weighted(last[-1:], np.ones(1, np.float32), size)
            inverse = np.maximum(self._pairs.totals[:size], np.float32(1.0)) ** np.float32(-0.5)
            similar = self._pairs.weighted(last, inverse[last], size) * inverse
            np.add.at(similar, last, np.float32(1.0))  # an item is like itself; it matters where repeats count
            nearest = self._pairs.weighted(last[-1:], inverse[last[-1:]], size) * inverse
            nearest[last[-1]] += np.float32(1.0)
        # The smallest of steps breaks ties by popularity, for those that know nothing of most items.
        tie = ever / (ever.max() + 1.0) * np.float32(1e-6)
        return {
            "popularity": ever, "decayed_popularity": decayed + tie, "markov": following + tie,
            "item_knn": similar + tie, "item_knn_last": nearest + tie,
        }  # fmt: skip

    def predict(self, event: Exposure) -> Mapping[str, float]:
        """Return nothing: baselines rank only."""
        return {}

    def observe(self, event: Exposure) -> None:
        """Take in an event; those that are not positive change nothing."""
        if not event.positive:
            return
        item = event.item
        if item >= self._size:
            self._grow(item + 1)
        history = self._histories[event.user]
        if self.learning:
            self._popularity.add(item, event.time_ms)
            if item not in history.items:
                self._pairs.totals[item] += 1.0
                others = list(dict.fromkeys(history.items[-50:]))
                if others:
                    self._pairs.add(item, others)
            if history.items:
                self._next.add(item, history.items[-1:], mutual=False)
        history.add(item, True, event.time_ms)
