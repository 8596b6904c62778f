"""What ties add to scores: candidates by authors whom the viewer follows, and candidates that its friends liked lately.

A lift is added to the logit of one video for one viewer. Few viewers have any and each has few, so they are kept sparse
and cost nothing where there are none. Axes: B slates, S slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.activity import Activity, decayed
from streams.core.equals import places_of
from streams.core.graph import Authors
from streams.core.logits import Logits
from streams.core.pool import FreshPool
from streams.core.ports import Floats
from streams.core.ties import Ties

Ints = NDArray[np.int64]

BY_AUTHOR = 16  # newest videos of a followed author that are lifted


@dataclass(frozen=True)
class LiftConfig:
    """What ties are worth, in logits; with 0 they are kept and explained, and change no score.

    Attributes:
      follow: added to the logit of a video by a followed author.
      friends: added to that of a video that one friend liked just now; of n friends, log2(n + 1) times as much.
      half_life_ms: of a like.
    """

    follow: float = 0.0
    friends: float = 0.0
    half_life_ms: float = 3_600_000.0


class Social:
    """What lifts are made of.

    Args:
      activity: what users liked lately; None where nobody reads it.
    """

    def __init__(self, config: LiftConfig, pool: FreshPool, activity: Activity | None = None) -> None:
        self.config, self.pool, self.activity = config, pool, activity
        self.authors = Authors(pool)

    @property
    def lifts(self) -> bool:
        """Whether ties change any score."""
        return bool(self.config.follow or (self.config.friends and self.activity is not None))


class Lifts:
    """Lifts as one ascending array of (row, slot).

    Attributes:
      rows, slots: int64 [M], by row, then slot, each pair once; values: float32 [M].
    """

    def __init__(self, rows: Ints, slots: Ints, values: NDArray[np.floating[Any]], size: int) -> None:
        self._stride = max(size, 1)
        self._keys, place = np.unique(rows * self._stride + slots, return_inverse=True)
        self.rows, self.slots = self._keys // self._stride, self._keys % self._stride
        self.values: Floats = np.bincount(place, values, len(self._keys)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, share: slice) -> Lifts | None:
        """Return the lifts of a range of rows, counted from its first; None where it has none."""
        first, last = np.searchsorted(self.rows, (share.start, share.stop))
        if first == last:
            return None
        some = slice(int(first), int(last))
        return Lifts(self.rows[some] - share.start, self.slots[some], self.values[some], self._stride)

    def among(self, slots: Ints) -> Lifts:
        """Return the lifts of distinct slots [n] alone, which become columns 0 to n - 1."""
        order = np.argsort(slots)
        at = np.minimum(np.searchsorted(slots, self.slots, sorter=order), len(slots) - 1)
        kept = np.flatnonzero(slots[order][at] == self.slots) if len(slots) else np.zeros(0, np.int64)
        return Lifts(self.rows[kept], order[at[kept]], self.values[kept], len(slots))

    def of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return the lifts of rows [n]: place in `rows`, and place in the columns, [M] each."""
        return places_of(self.rows, rows)

    def taken(self, rows: Ints) -> Lifts:
        """Return the lifts of ascending rows [n], which become rows 0 to n - 1."""
        places, found = self.of(rows)
        return Lifts(places, self.slots[found], self.values[found], self._stride)

    def beside(self, near: Ints, rows: Ints) -> Ints:
        """Return candidates [n, W + L] of rows [n]: those found, [n, W], and those lifted; -1 fills up."""
        places, found = self.of(rows)
        if not len(places):
            return near
        nth = np.arange(len(places)) - np.searchsorted(places, places)
        more = np.full((len(rows), int(nth.max()) + 1), -1, np.int64)
        more[places, nth] = self.slots[found]
        more[(more[:, :, None] == near[:, None, :]).any(axis=2)] = -1  # each candidate once
        return np.concatenate([near, more], axis=1)

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Return the lifts [M] of single rows and slots, 0 where there is none."""
        wanted = rows * self._stride + slots
        if not len(self._keys):
            return np.zeros(len(rows), np.float32)
        found = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[found] == wanted, self.values[found], np.float32(0.0))


class Lifted:
    """Logits with lifts added. Implements `streams.core.logits.Logits`."""

    def __init__(self, logits: Logits, lifts: Lifts) -> None:
        self._logits, self._lifts = logits, lifts

    def tile(self, rows: Ints) -> Floats:
        """Return rows."""
        out = self._logits.tile(rows)
        places, found = self._lifts.of(rows)
        out[places, self._lifts.slots[found]] += self._lifts.values[found]
        return out

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Return single ones."""
        found: Floats = self._logits.at(rows, slots) + self._lifts.at(rows, slots)
        return found

    def among(self, slots: Ints) -> Logits:
        """Return those of some videos."""
        return Lifted(self._logits.among(slots), self._lifts.among(slots))


def lifts_of(ties: Mapping[int, Ties], now_ms: Ints, size: int, social: Social) -> Lifts | None:
    """Return the lifts of slates; None where there is none.

    Args:
      ties: by row of the slate, those of its viewer.
      now_ms: [B] of the slates.
      size: S, slots that may be lifted.
    """
    parts = [part(ties, now_ms, social) for part in (_by_author, _by_friends)]
    rows, slots, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    good = (slots >= 0) & (slots < size)
    return Lifts(rows[good], slots[good], values[good], size) if good.any() else None


Part = tuple[Ints, Ints, NDArray[np.float64]]


def _by_author(ties: Mapping[int, Ties], now_ms: Ints, social: Social) -> Part:
    rows, keys = _pairs({row: one.follows for row, one in ties.items()} if social.config.follow else {})
    authors, which = np.unique(keys, return_inverse=True)
    places, slots = social.authors.slots(authors, BY_AUTHOR)
    pairs, at = places_of(places, which)
    return rows[pairs], slots[at], np.full(len(at), social.config.follow)


def _by_friends(ties: Mapping[int, Ties], now_ms: Ints, social: Social) -> Part:
    wanted = social.config.friends and social.activity is not None
    rows, keys = _pairs({row: one.friends for row, one in ties.items()} if wanted else {})
    if not len(rows) or social.activity is None:
        return rows, rows, np.zeros(len(rows))
    which, videos, times = social.activity.likes(keys)
    rows, slots = rows[which], social.pool.slots_of_keys(videos)
    worth = decayed(times, now_ms[rows], social.config.half_life_ms)
    pairs, place = np.unique(np.stack([rows, slots]), axis=1, return_inverse=True)
    total = np.bincount(place.ravel(), worth, pairs.shape[1])
    return pairs[0], pairs[1], social.config.friends * np.log2(1.0 + total)


def _pairs(keys: Mapping[int, tuple[int, ...]]) -> tuple[Ints, Ints]:
    counts = [len(one) for one in keys.values()]
    rows = np.repeat(np.fromiter(keys, np.int64, len(keys)), counts)
    return rows, np.fromiter(chain.from_iterable(keys.values()), np.int64, len(rows))
