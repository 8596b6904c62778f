"""What orders the videos of slates: logits computed 64 rows at a time and not kept, for one arm or for several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams.core.hashing import draws, uniforms
from streams.core.ports import Floats
from streams.core.tiles import TILE, multiply

Ints = NDArray[np.int64]


class Logits(Protocol):
    """Logits [B, N] of B slates and N videos."""

    def tile(self, rows: Ints) -> Floats:
        """Return those of at most 64 rows, ascending; the caller may write into them until the next call."""
        ...

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Return those of single rows and slots, [M]."""
        ...

    def among(self, slots: Ints) -> Logits:
        """Return those of some videos alone, [B, n]; their last bits may differ from those among all."""
        ...


class Given:
    """Logits that are there already."""

    def __init__(self, logits: Floats) -> None:
        self._logits = logits

    def tile(self, rows: Ints) -> Floats:
        """Return a copy of rows."""
        return self._logits[rows]

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Return single ones."""
        found: Floats = self._logits[rows, slots]
        return found

    def among(self, slots: Ints) -> Logits:
        """Return some columns."""
        return Given(self._logits[:, slots])


class Products:
    """Queries [B, D] times keys [N, D]."""

    def __init__(self, queries: Floats, keys: Floats) -> None:
        self.queries, self.keys = queries, keys
        self._out = np.empty((TILE, len(keys)), np.float32)
        self._padded = np.zeros((TILE, queries.shape[1]), np.float32)

    def tile(self, rows: Ints) -> Floats:
        """Return the products of rows."""
        self._padded[: len(rows)] = self.queries[rows]
        multiply(self._padded, self.keys.T, self._out)
        return self._out[: len(rows)]

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Return single ones; their last bits may differ from those of a tile."""
        found: Floats = (self.queries[rows] * self.keys[slots]).sum(axis=1, dtype=np.float32)
        return found

    def among(self, slots: Ints) -> Logits:
        """Return the products with some keys."""
        return Products(self.queries, self.keys[slots])


class Same:
    """One order [N] for every row."""

    def __init__(self, values: Floats) -> None:
        self._values = values

    def tile(self, rows: Ints) -> Floats:
        """Return a copy for each row."""
        return np.tile(self._values, (len(rows), 1))

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Return single ones."""
        found: Floats = self._values[slots]
        return found

    def among(self, slots: Ints) -> Logits:
        """Return some values."""
        return Same(self._values[slots])


class Drawn:
    """N uniform numbers for each seed [B]."""

    def __init__(self, seeds: NDArray[np.uint64], count: int) -> None:
        self._seeds, self._count = seeds, count

    def tile(self, rows: Ints) -> Floats:
        """Draw rows."""
        return uniforms(draws(self._seeds[rows], self._count)).astype(np.float32)

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Draw the rows that are asked for and return single numbers."""
        distinct, place = np.unique(rows, return_inverse=True)
        found: Floats = self.tile(distinct)[place, slots]
        return found

    def among(self, slots: Ints) -> Logits:
        """Return some of the numbers."""
        return _Among(self, slots)


class _Among:
    """Some columns of logits that are made whole."""

    def __init__(self, whole: Logits, slots: Ints) -> None:
        self._whole, self._slots = whole, slots

    def tile(self, rows: Ints) -> Floats:
        return self._whole.tile(rows)[:, self._slots]

    def at(self, rows: Ints, slots: Ints) -> Floats:
        return self._whole.at(rows, self._slots[slots])

    def among(self, slots: Ints) -> Logits:
        return _Among(self._whole, self._slots[slots])


class Stacked:
    """Several one below the other, with the rows that each has."""

    def __init__(self, parts: Sequence[Logits], counts: Sequence[int]) -> None:
        self._parts, self._counts = parts, counts
        self._ends = np.cumsum(counts)

    def tile(self, rows: Ints) -> Floats:
        """Return rows, each from its part."""
        found = [part.tile(rows[some] - begin) for part, some, begin in self._shares(rows)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def at(self, rows: Ints, slots: Ints) -> Floats:
        """Return single ones, each from its part; rows ascending."""
        shares = self._shares(rows)
        return np.concatenate([part.at(rows[some] - begin, slots[some]) for part, some, begin in shares])

    def among(self, slots: Ints) -> Logits:
        """Return some videos of every part."""
        return Stacked([part.among(slots) for part in self._parts], self._counts)

    def _shares(self, rows: Ints) -> list[tuple[Logits, slice, int]]:
        """Return which of ascending rows fall to each part, with the part's first row."""
        cuts = [0, *np.searchsorted(rows, self._ends).tolist()]
        begins = [0, *self._ends.tolist()]
        return [
            (part, slice(cuts[i], cuts[i + 1]), begins[i])
            for i, part in enumerate(self._parts)
            if cuts[i + 1] > cuts[i]
        ]
