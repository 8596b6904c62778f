"""The index of a large pool: an inverted file whose cells FAISS cuts, laid out for the queries that a version makes.

Plain cells are cut by distance between keys, most of which no query tells apart. So keys are first mapped to where
their distance is the expected difference of their logits: with M the second moment of the queries and M = U S² Uᵀ, a
key k becomes k U S and a query q becomes q U S⁻¹. Few directions are left that matter, and only those are searched.
Which cells a query looks into, and what it finds there, depends on nothing beside it in its batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.members import LANES, Members
from streams.core.pool import Indexing
from streams.core.ports import Floats
from streams.core.scan import nearest
from streams.core.tiles import product

Ints = NDArray[np.int64]

_ROUNDS, _SAMPLE, _SEED = 6, 48, 1  # of k-means: rounds, and keys for each cell
_CANDIDATES = 64  # for so many, `probes` cells are looked into; for more, in proportion
_KEPT, _STEP = 0.999, 4  # of the logits' variance that the directions searched explain, and their number's divisor
_LEAST = 1e-3  # of the mean variance of a query's direction, so that none is lost for want of queries


class CellIndex:
    """Implements `streams.core.ports.Index`.

    Args:
      expected: [Q, D] queries as they will come.
      slots, keys: [n] and [n, D], what is in the index from the start; n ≥ 1.
      probes: cells that a query looks into.
    """

    def __init__(self, expected: Floats, slots: Ints, keys: Floats, probes: int) -> None:
        self._mean: Floats = keys.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._of_keys, self._of_queries = _directions(expected, keys - self._mean)
        placed = self._placed(keys)
        depth, count = placed.shape[1], max(1, min(len(keys) // 8, 1 << round(np.log2(2 * np.sqrt(len(keys))))))
        self._centres = _centres(placed, count)
        self._halves: Floats = np.float32(-0.5) * (self._centres**2).sum(axis=1)
        cells = self._cells(placed)
        self._middles, self._spreads = _moments(placed, cells, self._centres)
        self._probes = min(probes, count)
        self._members = Members(count, depth)
        self._members.put(slots, placed, cells)

    def __len__(self) -> int:
        return len(self._members)

    def put(self, slots: Ints, keys: Floats) -> None:
        """Add keys [n, D] of distinct slots [n], or replace them."""
        self.drop(slots)
        placed = self._placed(keys)
        self._members.put(slots, placed, self._cells(placed))

    def drop(self, slots: Ints) -> None:
        """Take out distinct slots [n]; those that are not there do not matter."""
        self._members.drop(slots)

    def search(self, queries: Floats, wanted: int) -> Ints:
        """Return slots [B, wanted] with about the largest products with queries [B, D], best first; -1 fills up."""
        asked = product(queries, self._of_queries.T)
        probes = min(len(self._centres), self._probes * -(-wanted // _CANDIDATES))
        # A cell promises its mean and, by the spread of its members, what the best of them may have beyond.
        promises = product(asked, self._middles)
        promises += np.sqrt(product(asked * asked, self._spreads))
        short = -promises.shape[1] % LANES
        if short:
            promises = np.pad(promises, ((0, 0), (0, short)), constant_values=-np.inf)
        held = self._members
        blocks = held.blocks.reshape(len(held.blocks), -1)
        return nearest(asked, promises, probes, blocks, held.ids, held.table, held.counts, wanted)

    def _placed(self, keys: Floats) -> Floats:
        return product(keys - self._mean, self._of_keys.T)

    def _cells(self, placed: Floats) -> Ints:
        """Return the nearest cell of each row [n, depth]."""
        cells = np.empty(len(placed), np.int64)
        for start in range(0, len(placed), 4096):
            some = product(placed[start : start + 4096], self._centres)
            some += self._halves
            cells[start : start + 4096] = some.argmax(axis=1)
        return cells


def indexing(start: int, probes: int) -> Indexing | None:
    """Return what a pool needs to have such an index from `start` videos on; None for 0: no index."""

    def make(expected: Floats, slots: Ints, keys: Floats) -> CellIndex:
        return CellIndex(expected, slots, keys, probes)

    return Indexing(start, make) if start else None


def _centres(placed: Floats, count: int) -> Floats:
    """Return the centres [count, depth] of cells of keys [n, depth]."""
    import faiss  # here, since it takes a third of a second, and few pools are large

    faiss.omp_set_num_threads(1)
    depth = placed.shape[1]
    means = faiss.Kmeans(
        depth, count, niter=_ROUNDS, max_points_per_centroid=_SAMPLE, min_points_per_centroid=1, seed=_SEED
    )
    means.train(placed)
    return np.array(means.centroids, np.float32).reshape(count, depth)


def _directions(expected: Floats, centred: Floats) -> tuple[Floats, Floats]:
    """Return maps [D, depth] of keys and of queries whose images have almost the same products as they have."""
    asked, known = expected.astype(np.float64), centred[:: 1 + len(centred) // 100_000].astype(np.float64)
    moment = asked.T @ asked / len(asked)
    size = len(moment)
    values, axes = np.linalg.eigh(moment + _LEAST * np.trace(moment) / size * np.eye(size))
    scales = np.sqrt(np.maximum(values, 1e-12))
    there = axes * scales
    variances, turn = np.linalg.eigh(there.T @ (known.T @ known / len(known)) @ there)
    turn, explained = turn[:, ::-1], np.cumsum(variances[::-1]) / max(variances.sum(), 1e-12)
    depth = _STEP * (1 + int(np.searchsorted(explained, _KEPT)) // _STEP)
    kept = np.pad(turn, ((0, 0), (0, max(0, depth - size))))[:, :depth]
    return np.ascontiguousarray(there @ kept, np.float32), np.ascontiguousarray(axes / scales @ kept, np.float32)


def _moments(placed: Floats, cells: Ints, centres: Floats) -> tuple[Floats, Floats]:
    """Return the mean [cells, depth] of each cell's members, and their variance times 2 log of their number."""
    count = np.bincount(cells, minlength=len(centres))
    total = np.maximum(count, 1)[:, None]
    mean = np.stack([np.bincount(cells, column, len(centres)) for column in placed.T], axis=1) / total
    square = np.stack([np.bincount(cells, column * column, len(centres)) for column in placed.T], axis=1) / total
    mean[count == 0] = centres[count == 0]
    spread = np.maximum(square - mean * mean, 0.0) * 2.0 * np.log(np.maximum(count, 2))[:, None]
    spread[count == 0] = 0.0
    return mean.astype(np.float32), spread.astype(np.float32)
