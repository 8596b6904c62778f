"""What the stream says of items and users in counts: popularity with decay, co-occurrence, audiences, histories.

All of it advances event by event and is read at any time; nothing here knows the outcome of an event before it is
observed. Axes: N items, K half-lives, D dimensions of item vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.core.ports import Floats

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_REBASE = 200.0  # half-lives of growth before the counts are scaled back; 2**200 is far from the end of float64


class DecayedCounts:
    """Counts that halve every half-life, for several half-lives at once.

    A count of age a is worth 2**(-a/half-life). New counts are scaled up instead of old ones down, so an event costs
    K additions. Source: Cormode et al. 2009, forward decay.
    """

    def __init__(self, half_lives_ms: Sequence[float], start_ms: int) -> None:
        self.half_lives = np.array(half_lives_ms, np.float64)
        self.reference = float(start_ms)
        self.counts: Doubles = np.zeros((len(half_lives_ms), 0))

    def grow(self, items: int) -> None:
        """Make room for `items`."""
        self.counts = widened(self.counts, items, 1)

    def add(self, item: int, at_ms: float, weight: float = 1.0) -> None:
        """Count an event."""
        growth = (at_ms - self.reference) / self.half_lives
        if growth.max() > _REBASE:
            self._rebase(at_ms)
            growth = np.zeros_like(growth)
        self.counts[:, item] += weight * 2.0**growth

    def add_many(self, items: Ints, at_ms: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Count events [M] at once; none may be later than the reference by many half-lives."""
        for row, half_life in enumerate(self.half_lives):
            np.add.at(self.counts[row], items, weights * 2.0 ** ((at_ms - self.reference) / half_life))

    def at(self, now_ms: float) -> Floats:
        """Return counts [K, N] as they are worth at a time."""
        scale = 2.0 ** (-(now_ms - self.reference) / self.half_lives)
        return (self.counts * scale[:, None]).astype(np.float32)

    def _rebase(self, at_ms: float) -> None:
        self.counts *= (2.0 ** (-(at_ms - self.reference) / self.half_lives))[:, None]
        self.reference = at_ms


class Audience:
    """The decayed mean of the vectors of those an item was shown to: whom it is being shown to now."""

    def __init__(self, half_life_ms: float, start_ms: int, dimensions: int) -> None:
        self.half_life, self.reference = half_life_ms, float(start_ms)
        self.sums: Floats = np.zeros((0, dimensions), np.float32)
        self.weights: Floats = np.zeros(0, np.float32)

    def grow(self, items: int) -> None:
        """Make room for `items`."""
        self.sums, self.weights = widened(self.sums, items, 0), widened(self.weights, items, 0)

    def add(self, item: int, at_ms: float, vector: Floats) -> None:
        """Show an item to a user with a vector [D]."""
        growth = (at_ms - self.reference) / self.half_life
        if growth > 40.0:
            self.sums *= np.float32(2.0**-growth)
            self.weights *= np.float32(2.0**-growth)
            self.reference, growth = float(at_ms), 0.0
        weight = np.float32(2.0**growth)
        self.sums[item] += weight * vector
        self.weights[item] += weight

    def affinity(self, now_ms: float, vector: Floats, prior: float = 0.3) -> Floats:
        """Return the likeness [N] of a user to each item's audience; `prior` counts pull small ones to 0."""
        growth = min(60.0, (now_ms - self.reference) / self.half_life)
        result: Floats = (self.sums @ vector) / (self.weights + np.float32(prior * 2.0**growth))
        return result


class PairCounts:
    """How often two items stood in one history: dense [N, N] up to a size, rows of dictionaries beyond it.

    Attributes:
      dense: float32 [capacity, capacity], or None when there are too many items.
      totals: float32 [N], histories that hold the item.
    """

    def __init__(self, dense_items: int) -> None:
        self.limit = dense_items
        self.dense: Floats | None = np.zeros((0, 0), np.float32)
        self.rows: dict[int, dict[int, float]] = {}
        self.totals: Floats = np.zeros(0, np.float32)

    def grow(self, items: int) -> None:
        """Make room for `items`."""
        self.totals = widened(self.totals, items, 0)
        if self.dense is None:
            return
        if items > self.limit:
            for row in range(len(self.dense)):
                others = np.flatnonzero(self.dense[row])
                if len(others):
                    self.rows[row] = dict(zip(others.tolist(), self.dense[row, others].tolist(), strict=True))
            self.dense = None
        else:
            self.dense = widened(widened(self.dense, items, 0), items, 1)

    def add(self, item: int, others: Sequence[int], weights: Floats | float = 1.0, mutual: bool = True) -> None:
        """Count `item` with distinct `others`; both ways when `mutual`, else only from the others to the item."""
        if self.dense is not None:
            self.dense[others, item] += weights
            if mutual:
                self.dense[item, others] += weights
            return
        each = np.broadcast_to(np.asarray(weights, np.float64), len(others)).tolist()
        for other, weight in zip(others, each, strict=True):
            for one, two in ((other, item), (item, other))[: 1 + mutual]:
                row = self.rows.setdefault(one, {})
                row[two] = row.get(two, 0.0) + weight

    def weighted(self, items: Sequence[int], weights: Floats, size: int) -> Floats:
        """Return the sum [size] of the rows of `items`, weighted."""
        if self.dense is not None:
            product: Floats = weights @ self.dense[items, :size]
            return product
        out = np.zeros(size, np.float32)
        for item, weight in zip(items, weights.tolist(), strict=True):
            row = self.rows.get(item)
            if row:
                others = np.fromiter(row.keys(), np.int64, len(row))
                out[others] += weight * np.fromiter(row.values(), np.float32, len(row))
        return out


@dataclass
class History:
    """What one user was shown, oldest first.

    Attributes:
      items, positive: in order; repeated items stand repeatedly.
      last_ms: time of the newest.
    """

    items: list[int] = field(default_factory=list)
    positive: list[bool] = field(default_factory=list)
    last_ms: float = -1.0

    def add(self, item: int, positive: bool, at_ms: float) -> None:
        """Append an event."""
        self.items.append(item)
        self.positive.append(positive)
        self.last_ms = at_ms


def recency(count: int, decay: float) -> Floats:
    """Return weights [count], 1 for the newest, which is last, and `decay` times the next for each before it."""
    weights: Floats = (np.float32(decay) ** np.arange(count - 1, -1, -1, dtype=np.float32)).astype(np.float32)
    return weights


def widened(array, size: int, axis: int):  # type: ignore[no-untyped-def]
    """Return the array with at least `size` along an axis, zeros added in steps that double."""
    have = array.shape[axis]
    if have >= size:
        return array
    shape = list(array.shape)
    shape[axis] = size if not have else max(size, 2 * have) - have
    if have:
        return np.concatenate([array, np.zeros(shape, array.dtype)], axis)
    return np.zeros(shape, array.dtype)
