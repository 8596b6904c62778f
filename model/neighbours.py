"""The graph of items by what they share: author, music and tags; what is known of neighbours says something of an item.

Two items are neighbours of a kind when one thing of that kind stands in both. A mean step gives every item the mean of
its neighbours' values, so that an item nobody has watched yet has something to go by. Axes: N items, K kinds, D values.

Source: the mean aggregator of GraphSAGE, Hamilton et al. 2017, over the two-hop paths item - category - item.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.datasets import Content
from streams.core.ports import Floats

Ints = NDArray[np.int64]
KINDS = ("author", "music", "tags")
MOST = 64  # items of one thing; what stands in more of them, as "no music", joins nothing


class _Kind:
    """Things of one kind as pairs of item and thing, [P] each, and what a thing's pair weighs in its item."""

    def __init__(self, things: Sequence[tuple[str, ...]], most: int) -> None:
        place: dict[str, int] = {}
        pairs = [(item, place.setdefault(one, len(place))) for item, own in enumerate(things) for one in own if one]
        items, found = np.array(pairs, np.int64).reshape(-1, 2).T
        self.count = len(place)
        useful = np.bincount(found, minlength=self.count)[found] <= most if most else np.ones(len(found), bool)
        self.items, self.things = items[useful], found[useful]

    def means(self, values: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return means [N, D] over the neighbours that are known, never the item itself, and how many there are [N]."""
        size = len(values)
        inside = self.items < size
        items, things = self.items[inside], self.things[inside]
        counted = np.where(known[:, None], values, np.float32(0.0))
        weight = known.astype(np.float32)
        sums = _summed(counted[items], things, self.count)
        counts = np.bincount(things, weight[items], self.count).astype(np.float32)
        total = _summed(sums[things] - counted[items], items, size)
        beside: Floats = np.bincount(items, counts[things] - weight[items], size).astype(np.float32)
        return (total / np.maximum(beside, 1.0)[:, None]).astype(np.float32), beside


def _summed(values: Floats, places: Ints, count: int) -> Floats:
    """Return sums [count, D] of values [P, D] by place [P]."""
    out = np.empty((count, values.shape[1]), np.float32)
    for column in range(values.shape[1]):
        out[:, column] = np.bincount(places, values[:, column], count)
    return out


class ItemGraph:
    """Neighbours by kind, laid out once; items beyond those of `content` have none."""

    def __init__(self, content: Content, most: int = MOST) -> None:
        self.size = len(content.tags)
        self._kinds = (
            _Kind([(one,) for one in content.authors], most),
            _Kind([(one,) for one in content.music], most),
            _Kind(list(content.tags), 0),
        )

    def means(self, values: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return for values [N, D] the means of neighbours [K, N, D] and how many are known [K, N]; zeros without.

        Args:
          known: bool [N], items whose values say something.
        """
        some = values[: self.size]
        found = [kind.means(some, known[: self.size]) for kind in self._kinds]
        means = np.zeros((len(KINDS), *values.shape), np.float32)
        counts = np.zeros((len(KINDS), len(values)), np.float32)
        for place, (mean, count) in enumerate(found):
            means[place, : len(some)], counts[place, : len(some)] = mean, count
        return means, counts

    def step(self, values: Floats, known: NDArray[np.bool_]) -> Floats:
        """Return values [N, D] in which those not known are the mean of their neighbours', the nearest kind first.

        An author says more of an item than its music, and that more than its tags; where no neighbour is known the
        values stay.
        """
        means, counts = self.means(values, known)
        out = values.copy()
        for kind in reversed(range(len(KINDS))):
            taken = (counts[kind] > 0) & ~known
            out[taken] = means[kind, taken]
        return out


#: What is averaged over neighbours; each of these stands in the signals under the same name.
AVERAGED = ("ease_recent", "ease_positive", "knn", "rate")
_USED = (0, 2)  # author and tags; a piece of music of its own has hardly two items that an author has not
SIGNALS = (
    *(f"{KINDS[kind]}_{name}" for kind in _USED for name in AVERAGED),
    "author_neighbours", "same_author", "never_shown",
)  # fmt: skip


class GraphSignals:
    """Signals [G, N] of every item for a request, from its neighbours and from the authors in the user's history."""

    def __init__(self, content: Content) -> None:
        self._graph = ItemGraph(content)
        names: dict[str, int] = {}
        self._authors = np.array([names.setdefault(one, len(names)) for one in content.authors], np.int64)

    def write(self, values: Floats, known: NDArray[np.bool_], items: Ints, weights: Floats, out: Floats) -> None:
        """Write the signals.

        Args:
          values: [N, A], those of `AVERAGED`; known: bool [N], items that were ever shown.
          items, weights: [T] of the user's history.
          out: [G, N].
        """
        means, counts = self._graph.means(values, known)
        usual = values[known].mean(0) if known.any() else np.zeros(values.shape[1], np.float32)
        for place, kind in enumerate(_USED):
            found = np.where(counts[kind][:, None] > 0, means[kind], usual)
            out[place * len(AVERAGED) : (place + 1) * len(AVERAGED)] = found.T
        at = len(_USED) * len(AVERAGED)
        out[at] = np.log1p(counts[0])
        held = items < len(self._authors)
        if held.any():
            liked = np.bincount(self._authors[items[held]], weights[held], int(self._authors.max()) + 1)
            out[at + 1, : len(self._authors)] = liked[self._authors].astype(np.float32)
        out[at + 2] = ~known

    def filled(self, weights: dict[str, Floats], names: Sequence[str], known: NDArray[np.bool_]) -> dict[str, Floats]:
        """Return weights whose rows of items never shown are made of their neighbours' (`ItemGraph.step`)."""
        made = dict(weights)
        for name in names:
            rows = weights[name]
            inside = np.zeros(len(rows), bool)
            inside[: len(known)] = known[: len(rows)]
            flat = self._graph.step(rows.reshape(len(rows), -1), inside)
            made[name] = flat.reshape(rows.shape)
        return made
