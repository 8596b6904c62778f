"""The graph of what is published: videos by author, and which tags go together, built online from the `videos` topic.

Authors and their videos are found in the pool's own columns, laid out anew now and then: nothing is done per video, and
a pool of a million costs 16 MB. What a user follows and whom it knows stands in the user's state (`streams.core.ties`);
what friends like comes from feedback (`streams.core.activity`). The graph is used in scores and explanations, never in
hidden states.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from streams.core.equals import places_of
from streams.core.events import Video
from streams.core.pool import FreshPool

Ints = NDArray[np.int64]

_TAIL = 1024  # slots that may have changed since authors were laid out, at least; these are looked through one by one
_TAIL_SHARE = 64  # or this part of the pool


class Authors:
    """Slots of a pool by author."""

    def __init__(self, pool: FreshPool) -> None:
        self._pool = pool
        self._order: Ints = np.zeros(0, np.int64)  # slots, by author
        self._keys: Ints = np.zeros(0, np.int64)  # their authors when they were laid out, ascending
        self._through = 0  # the change of the pool up to which they are laid out

    def slots(self, authors: Ints, most: int) -> tuple[Ints, Ints]:
        """Return the newest slots of authors [n], at most `most` each, and to which of the authors each belongs.

        Returns: places int64 [M], ascending, and slots int64 [M], newest first within a place. Slots that are not
          fresh may be among them.
        """
        pool = self._pool
        tail = self._changed()
        places, at = places_of(self._keys, authors)
        slots = self._order[at]
        if len(tail):
            tail = tail[np.argsort(pool.authors[tail], kind="stable")]
            more, at = places_of(pool.authors[tail], authors)
            places, slots = np.concatenate([places, more]), np.concatenate([slots, tail[at]])
        good = (pool.authors[slots] == authors[places]) & (slots < pool.size)  # given to another author since
        places, slots = places[good], slots[good]
        order = np.lexsort((slots, -pool.published_ms[slots], places))
        places, slots = places[order], slots[order]
        distinct = np.ones(len(places), bool)
        distinct[1:] = (places[1:] != places[:-1]) | (slots[1:] != slots[:-1])
        places, slots = places[distinct], slots[distinct]
        starts = np.searchsorted(places, np.arange(len(authors)))
        newest = np.arange(len(places)) - starts[places] < most
        return places[newest], slots[newest]

    def _changed(self) -> Ints:
        """Return the slots whose author changed since the layout, which is made anew where they are many."""
        pool = self._pool
        if pool.changes == self._through:
            return np.zeros(0, np.int64)
        tail = np.flatnonzero(pool.changed[: pool.used] > self._through)
        if len(tail) <= max(_TAIL, pool.used // _TAIL_SHARE):
            return tail
        self._order = np.argsort(pool.authors[: pool.used], kind="stable")
        self._keys = pool.authors[self._order]
        self._through = pool.changes
        return np.zeros(0, np.int64)


class TagPairs:
    """Which tags stand together on videos: the most frequent neighbours of the tags used last.

    Args:
      tags: that are remembered, the least recently used forgotten first; neighbours: of each that are told apart.
    """

    def __init__(self, tags: int = 8192, neighbours: int = 32) -> None:
        self._tags, self._neighbours = tags, neighbours
        self._counts: OrderedDict[str, Counter[str]] = OrderedDict()

    def add(self, videos: Sequence[Video]) -> None:
        """Count the pairs of published videos."""
        for video in videos:
            for one, two in combinations(dict.fromkeys(video.tags), 2):
                self._count(one, two)
                self._count(two, one)

    def near(self, tag: str, most: int = 8) -> list[tuple[str, int]]:
        """Return the tags that stood with a tag most often, and how often."""
        return self._counts.get(tag, Counter[str]()).most_common(most)

    def _count(self, tag: str, other: str) -> None:
        counts = self._counts.setdefault(tag, Counter())
        self._counts.move_to_end(tag)
        counts[other] += 1
        if len(counts) > 2 * self._neighbours:
            self._counts[tag] = Counter(dict(counts.most_common(self._neighbours)))
        if len(self._counts) > self._tags:
            self._counts.popitem(last=False)
