"""Additive effects on the logit of an outcome: a weight for each user, item, tag and so on, and for pairs of them.

An effect says how far its key is from what the others explain: a user who skips what everybody skips is not taken for
one who skips. Each is drawn to 0 by the precision of its family. A warm-up is fitted at once; after it every event
moves the weights of its keys by as much as they are uncertain.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Mapping
from math import exp

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]


class Effects:
    """Weights by key, and how much is known of each. Families must not share keys.

    Args:
      precisions: of the prior of each family's weights, by the name under which an event gives its key; how large an
        effect may be: 1 / precision is its variance in logits.
    """

    def __init__(self, precisions: Mapping[str, float]) -> None:
        self.precisions = dict(precisions)
        self._place: dict[Hashable, int] = {}  # shared with forks, which may know fewer places than it has
        self._weights, self._known = array("d"), array("d")
        self._rows, self._labels = array("q"), array("b")  # of a warm-up, until it is fitted

    def fork(self) -> Effects:
        """Return effects that are the same now and go on apart."""
        other = Effects(self.precisions)
        other._place = self._place
        other._weights, other._known = array("d", self._weights), array("d", self._known)
        return other

    def weight(self, key: Hashable) -> float:
        """Return the effect of a key, 0 where nothing is known of it."""
        place = self._place.get(key, -1)
        return self._weights[place] if 0 <= place < len(self._weights) else 0.0

    def logit(self, keys: Mapping[str, Hashable]) -> float:
        """Return the sum of an event's effects; `keys` by name of family, others are not looked at."""
        return sum(self.weight(keys[name]) for name in self.precisions)

    def learn(self, keys: Mapping[str, Hashable], positive: bool) -> None:
        """Move the weights of an event's keys: one step of Newton, each by its share of the uncertainty.

        Source: MacKay 1992, "The evidence framework applied to classification networks", with a diagonal posterior.
        """
        places = self._places(keys)
        chance = 1.0 / (1.0 + exp(-max(-30.0, min(30.0, sum(self._weights[place] for place in places)))))
        told = chance * (1.0 - chance)
        sizes = [1.0 / (prior + self._known[at]) for at, prior in zip(places, self.precisions.values(), strict=True)]
        step = (positive - chance) / (1.0 + told * sum(sizes))
        for place, size in zip(places, sizes, strict=True):
            self._weights[place] += step * size
            self._known[place] += told

    def collect(self, keys: Mapping[str, Hashable], positive: bool) -> None:
        """Keep an event for `fit`."""
        self._rows.extend(self._places(keys))
        self._labels.append(positive)

    def fit(self, rounds: int = 8) -> None:
        """Find the weights that are most probable after all that was collected, and forget that.

        Families take turns. The weights of one have no event in common, so that each takes its own step of Newton.
        """
        if not self._labels:
            return
        rows = np.array(self._rows, np.int64).reshape(-1, len(self.precisions)).T
        labels = np.array(self._labels, np.float64)
        self._rows, self._labels = array("q"), array("b")
        weights: Reals = np.zeros(len(self._weights))
        families = [np.unique(row, return_inverse=True) for row in rows]
        logits: Reals = np.zeros(len(labels))
        for _ in range(rounds):
            for (places, at), prior in zip(families, self.precisions.values(), strict=True):
                chance = _chances(logits)
                slope = np.bincount(at, labels - chance) - prior * weights[places]
                step = slope / (np.bincount(at, chance * (1.0 - chance)) + prior)
                weights[places] += step
                logits += step[at]
        chance = _chances(logits)
        known: Reals = np.zeros(len(weights))
        for places, at in families:
            known[places] = np.bincount(at, chance * (1.0 - chance))
        self._weights, self._known = array("d", weights.tolist()), array("d", known.tolist())

    def _places(self, keys: Mapping[str, Hashable]) -> list[int]:
        places = [self._place.setdefault(keys[name], len(self._place)) for name in self.precisions]
        missing = len(self._place) - len(self._weights)
        if missing:
            for held in (self._weights, self._known):
                held.extend([0.0] * missing)
        return places


def _chances(logits: Reals) -> Reals:
    chances: Reals = 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
    return chances
