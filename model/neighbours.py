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
Bools = NDArray[np.bool_]
KINDS = ("author", "music", "tags")
MOST = 64  # items of one thing; what stands in more of them, as "no music", joins nothing


class _Kind:
    """Pairs of an item and a thing of one kind, [P] each, sorted by thing; a thing of one item joins nothing."""

    def __init__(self, things: Sequence[tuple[str, ...]], most: int) -> None:
        place: dict[str, int] = {}
        pairs = [(item, place.setdefault(one, len(place))) for item, own in enumerate(things) for one in own if one]
        items, found = np.array(pairs, np.int64).reshape(-1, 2).T
        counts = np.bincount(found, minlength=len(place))[found]
        useful = np.flatnonzero((counts > 1) & (counts <= (most or len(things))))
        order = useful[np.argsort(found[useful], kind="stable")]
        self.items = items[order]
        _, self._starts, self.things = np.unique(found[order], return_index=True, return_inverse=True)
        self._by_item = np.argsort(self.items, kind="stable")

    def means(self, values: Floats, known: Bools, wanted: Bools) -> tuple[Ints, Floats, Floats]:
        """Return for items [R] that are wanted and have known neighbours means [R, D] over these, and how many [R].

        An item is never its own neighbour; one with which it shares two things counts twice.
        """
        if not len(self.items):
            return np.zeros(0, np.int64), np.zeros((0, values.shape[1]), np.float32), np.zeros(0, np.float32)
        held = known[self.items].astype(np.float32)
        own = np.where(held[:, None] > 0, values[self.items], np.float32(0.0))
        sums, counts = np.add.reduceat(own, self._starts), np.add.reduceat(held, self._starts)
        some = self._by_item[wanted[self.items[self._by_item]]]
        items, at = self.items[some], self.things[some]
        receivers, starts = np.unique(items, return_index=True)
        if not len(receivers):
            return receivers, np.zeros((0, values.shape[1]), np.float32), np.zeros(0, np.float32)
        beside = np.add.reduceat(counts[at] - held[some], starts)
        total = np.add.reduceat(sums[at] - own[some], starts)
        good = beside > 0
        means = (total[good] / beside[good][:, None]).astype(np.float32)
        return receivers[good], means, beside[good].astype(np.float32)


class ItemGraph:
    """Neighbours by kind, laid out once; items beyond those of `content` have none."""

    def __init__(self, content: Content, most: int = MOST) -> None:
        self.size = len(content.tags)
        self._kinds = (
            _Kind([(one,) for one in content.authors], most),
            _Kind([(one,) for one in content.music], most),
            _Kind(list(content.tags), 0),
        )

    def means(self, values: Floats, known: Bools, kind: int) -> tuple[Floats, Floats]:
        """Return for values [N, D] the means of neighbours [N, D] of a kind and how many are known [N]; zeros without.

        Args:
          known: bool [N], items whose values say something.
        """
        means, counts = np.zeros(values.shape, np.float32), np.zeros(len(values), np.float32)
        size = self.size
        items, found, beside = self._kinds[kind].means(values[:size], known[:size], np.ones(size, bool))
        means[items], counts[items] = found, beside
        return means, counts

    def step(self, values: Floats, known: Bools) -> Floats:
        """Return values [N, D] in which those not known are the mean of their neighbours', the nearest kind first.

        An author says more of an item than its music, and that more than its tags; where no neighbour is known the
        values stay.
        """
        out, size = values.copy(), self.size
        for kind in reversed(self._kinds):
            items, found, _ = kind.means(values[:size], known[:size], ~known[:size])
            out[items] = found
        return out


#: What is averaged over neighbours; each of these stands in the signals under the same name.
AVERAGED = ("ease_recent", "ease_positive", "knn", "rate")
_USED = (0, 2)  # author and tags; a piece of music of its own has hardly two items that an author has not
SIGNALS = (
    *(f"{KINDS[kind]}_{name}" for kind in _USED for name in AVERAGED),
    "author_neighbours", "never_shown",
)  # fmt: skip


class GraphSignals:
    """Signals [G, N] of every item for a request, from its neighbours."""

    def __init__(self, content: Content) -> None:
        self._graph = ItemGraph(content)

    def write(self, table: Floats, averaged: Sequence[int], known: Bools, out: Floats) -> None:
        """Write what neighbours say, and give items that were never shown what their neighbours have.

        Args:
          table: [F, N] of the other signals, in which columns of items not known are replaced.
          averaged: rows of the table that stand in the signals, `AVERAGED`.
          known: bool [N], items that were ever shown.
          out: [G, N].
        """
        values = np.ascontiguousarray(table.T)
        some = values[:, list(averaged)]
        usual = some[known].mean(0) if known.any() else np.zeros(len(averaged), np.float32)
        for place, kind in enumerate(_USED):
            means, counts = self._graph.means(some, known, kind)
            found = np.where(counts[:, None] > 0, means, usual)
            out[place * len(AVERAGED) : (place + 1) * len(AVERAGED)] = found.T
            if not place:
                out[-2] = np.log1p(counts)
        out[-1] = ~known
        if not known.all():
            table[:] = self._graph.step(values, known).T

    def filled(self, weights: dict[str, Floats], names: Sequence[str], known: Bools) -> dict[str, Floats]:
        """Return weights whose rows of items never shown are made of their neighbours' (`ItemGraph.step`)."""
        made = dict(weights)
        for name in names:
            rows = weights[name]
            inside = np.zeros(len(rows), bool)
            inside[: len(known)] = known[: len(rows)]
            flat = self._graph.step(rows.reshape(len(rows), -1), inside)
            made[name] = flat.reshape(rows.shape)
        return made
