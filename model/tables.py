"""Embedding tables beside the compiled step: they grow row by row, and a batch brings only its own rows to TensorFlow.

A step of fixed shape is compiled once; a table inside it would be compiled anew whenever a video appears. So the rows
of a batch go in as inputs, their gradients come out, and Adam is applied here, to those rows alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.batches import Batch
from model.catalogue import Catalogue
from model.examples import Ints
from model.standard import standardised
from model.title import BUCKETS, counted
from streams.core.hashing import draws, uniforms
from streams.core.ports import Floats

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8


class Table:
    """Rows [V, W] by 64-bit key, with Adam's moments.

    Args:
      scale: standard deviation of a new row; drawn from its key, so that the same key starts the same anywhere.
      rates: [W] learning rates.
      decay: decoupled weight decay, per unit of learning rate.
      most: rows kept; those untouched for longest are dropped beyond it.
    """

    def __init__(self, width: int, scale: float, rates: Floats, decay: float, most: int) -> None:
        self.width, self.scale, self.rates, self.decay, self.most = width, scale, rates, decay, most
        self.load(np.zeros(0, np.int64), np.zeros((0, width), np.float32))

    def load(self, keys: Ints, rows: Floats) -> None:
        """Take over keys [V] and rows [V, W]; moments start at zero."""
        self._row_of = {key: at for at, key in enumerate(keys.tolist())}
        self._space = np.concatenate([rows, np.zeros((max(256, len(rows)), self.width), np.float32)])
        self._first = np.zeros_like(self._space)
        self._second = np.zeros_like(self._space)
        self._touched = np.zeros(len(self._space), np.int64)

    def put(self, keys: Ints, rows: Floats) -> None:
        """Set the rows [V, W] of keys [V] that have one; moments stay."""
        self._space[self.find(keys, False)] = rows

    def __len__(self) -> int:
        return len(self._row_of)

    def find(self, keys: Ints, grow: bool, start: Callable[[], Floats] | None = None) -> Ints:
        """Return rows of keys [n], -1 where there is none (key 0 never has one).

        Args:
          grow: give rows to new keys.
          start: gives [n, W], added to the first value of a new row, as the mean over its places in `keys`.
        """
        get, real = self._row_of.get, keys != 0
        found = np.full(len(keys), -1, np.int64)
        found[real] = [get(key, -1) for key in keys[real].tolist()]
        if grow and (missing := (found < 0) & real).any():
            unique, where = np.unique(keys[missing], return_inverse=True)
            first = self._add(unique)
            if start is not None:
                total = np.zeros((len(unique), self.width), np.float32)
                np.add.at(total, where, start()[missing])
                self._space[first : first + len(unique)] += total / np.bincount(where)[:, None]
            return self.find(keys, False)
        return found

    def take(self, rows: Ints) -> Floats:
        """Return rows [n, W]; zeros for -1."""
        found: Floats = self._space[rows]
        found[rows < 0] = 0.0
        return found

    def update(self, rows: Ints, gradients: Floats, step: int, warmth: float) -> None:
        """Apply one Adam step to `rows` [n], which may repeat or be -1, from gradients [n, W].

        Source: Kingma and Ba 2015; lazily, as rows that are not in the batch do not move.
        """
        order = np.argsort(rows, kind="stable")
        ranked = rows[order]
        begin = int(np.searchsorted(ranked, 0))
        if begin == len(rows):
            return
        order, ranked = order[begin:], ranked[begin:]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        unique, total = ranked[starts], gradients[order]
        if len(starts) < len(order):
            total = np.add.reduceat(total, starts, axis=0)
        first = self._first[unique] = BETA1 * self._first[unique] + (1 - BETA1) * total
        second = self._second[unique] = BETA2 * self._second[unique] + (1 - BETA2) * total * total
        size = np.sqrt(second / (1 - BETA2**step)) + EPSILON
        moved = first / (1 - BETA1**step) / size + self.decay * self._space[unique]
        self._space[unique] -= (warmth * self.rates * moved).astype(np.float32)
        self._touched[unique] = step

    def sorted(self) -> tuple[Ints, Floats]:
        """Return keys [V] ascending and their rows [V, W], as copies."""
        keys = np.fromiter(self._row_of, np.int64, len(self))
        order = np.argsort(keys)
        return keys[order], self._space[: len(self)][order]

    def moments(self) -> tuple[Ints, Floats, Floats]:
        """Return keys [V] ascending, and first and second moments [V, W], as copies."""
        keys = np.fromiter(self._row_of, np.int64, len(self))
        order = np.argsort(keys)
        return keys[order], self._first[: len(self)][order], self._second[: len(self)][order]

    def set_moments(self, keys: Ints, first: Floats, second: Floats) -> None:
        """Take over the moments of those keys that have a row."""
        rows = self.find(keys, False)
        live = rows >= 0
        self._first[rows[live]], self._second[rows[live]] = first[live], second[live]

    def trim(self) -> None:
        """Drop the rows untouched for longest, down to `most`."""
        if len(self) <= self.most:
            return
        keep = np.sort(np.argsort(-self._touched[: len(self)], kind="stable")[: self.most])
        keys = np.fromiter(self._row_of, np.int64, len(self))[keep]
        first, second, touched = self._first[keep], self._second[keep], self._touched[keep]
        self.load(keys, self._space[keep])
        self._first[: len(keep)], self._second[: len(keep)], self._touched[: len(keep)] = first, second, touched

    def _add(self, keys: Ints) -> int:
        start, end = len(self), len(self) + len(keys)
        if end > len(self._space):
            for name in ("_space", "_first", "_second", "_touched"):
                column = getattr(self, name)
                more = np.zeros((max(end - len(column), len(column)), *column.shape[1:]), column.dtype)
                setattr(self, name, np.concatenate([column, more]))
        self._row_of.update(zip(keys.tolist(), range(start, end), strict=True))
        if self.scale:
            words = draws(keys.astype(np.uint64), self.width)
            spread = self.scale * np.sqrt(12.0)  # of a uniform draw with that standard deviation
            self._space[start:end] = (uniforms(words) - 0.5) * spread
        return start


@dataclass(frozen=True)
class Places:
    """Rows of a batch's videos [u]: author, music, video, tags [u, K] and n-grams [u, G]; -1 where there is none."""

    author: Ints
    music: Ints
    tags: Ints
    tag_total: Floats
    video: Ints
    grams: Ints
    gram_total: Floats

    def at(self, where: Ints) -> Places:
        """Return the rows of those videos [n]."""
        return Places(*(getattr(self, one.name)[where] for one in fields(self)))


class Tables:
    """The four tables, and a batch's view of them: `content` and `video` rows in, their gradients out.

    Attributes:
      standard: statistics that numbers go by (`model.standard`).
      text: rows of n-grams (`model.title`), by bucket; None where titles are not read.
    """

    standard: Floats | None = None
    text: Table | None = None

    def __init__(self, author: Table, tag: Table, music: Table, video: Table) -> None:
        self.author, self.tag, self.music, self.video = author, tag, music, video

    def named(self) -> dict[str, Table]:
        """Return the tables by the name they have in the weights."""
        return {"author": self.author, "tag": self.tag, "music": self.music, "video": self.video}

    def trim(self) -> None:
        """Drop rows beyond each table's bound, those untouched for longest first."""
        for table in self.named().values():
            table.trim()  # that of n-grams has an end of its own

    def places(self, catalogue: Catalogue, batch: Batch, grow: bool) -> Places:
        """Find the rows of a batch; `grow` gives rows to what has none."""
        return self.find(catalogue.features[batch.videos], grow)

    def find(self, found: NDArray[Any], grow: bool) -> Places:
        """Find the rows of videos with these features [u]; `grow` gives rows to what has none."""
        tags = self.tag.find(found["tags"].ravel(), grow).reshape(found["tags"].shape)
        total = np.maximum(found["tag_total"], 1).astype(np.float32)

        def about() -> Floats:
            return self._mean_tags(tags, total)

        # who and what goes with a topic starts near it
        return Places(
            author=self.author.find(found["author"], grow, about),
            music=self.music.find(found["music"], grow, about),
            tags=tags,
            tag_total=total,
            video=self.video.find(found["key"], grow),
            grams=self._grams(found["grams"], grow),
            gram_total=counted(found["grams"]),
        )

    def _grams(self, grams: NDArray[np.uint16], grow: bool) -> Ints:
        """Return the rows of n-grams [u, G]; -1 where there is none."""
        if self.text is None:
            return np.zeros((len(grams), 0), np.int64)
        there = np.zeros(BUCKETS, np.bool_)
        there[grams] = True
        there[0] = False
        keys = np.flatnonzero(there)
        found = np.full(BUCKETS, -1, np.int64)
        found[keys] = self.text.find(keys, grow)
        return found[grams]

    def content(self, catalogue: Catalogue, batch: Batch, places: Places, size: int) -> Floats:
        """Return content inputs [size, C]; row 0 and those beyond the batch's videos are zeros."""
        mean = self._mean_tags(places.tags, places.tag_total)
        parts = [
            self.author.take(places.author),
            mean,
            self.music.take(places.music),
            standardised(catalogue.features["numbers"][batch.videos], self.standard),
        ]
        out = np.zeros((size, sum(part.shape[1] for part in parts)), np.float32)
        out[1 : len(batch.videos) + 1] = np.concatenate(parts, axis=1)
        return out

    def _mean_tags(self, tags: Ints, total: Floats) -> Floats:
        mean = np.zeros((len(tags), self.tag.width), np.float32)
        for column in tags.T:
            there = np.flatnonzero(column >= 0)
            mean[there] += self.tag.take(column[there])
        mean /= total[:, None]
        return mean

    def residuals(self, places: Places, size: int, kept: Floats | float = 1.0) -> Floats:
        """Return learned rows of the batch's videos [size, E+1], laid out as `content`: by id, and by n-grams.

        Args:
          kept: [size, 1], 0 for videos without what was learned of them by id.
        """
        out = np.zeros((size, self.video.width), np.float32)
        out[1 : len(places.video) + 1] = self.video.take(places.video)
        out *= kept
        video, place = np.nonzero(places.grams >= 0)
        if self.text is not None and len(video):
            read, first = np.unique(video, return_index=True)
            total = np.add.reduceat(self.text.take(places.grams[video, place]), first, axis=0)
            out[read + 1, :-1] += total / places.gram_total[read, None]
        return out

    def reading(self, residuals: Floats) -> Floats:
        """Return the part [U, E] of the gradient of `residuals` that n-grams have too; no columns without them."""
        return residuals[:, : self.text.width if self.text is not None else 0]

    def update(
        self, places: Places, content: Floats, residuals: Floats, read: Floats, step: int, warmth: float
    ) -> None:
        """Apply gradients of `content` [U, C] and learned rows [U, E+1] to the rows they came from.

        Args:
          read: [U, E], of what n-grams add; see `reading`.
        """
        if self.text is not None:
            video, place = np.nonzero(places.grams >= 0)
            each = read[1 : len(places.video) + 1] / places.gram_total[:, None]
            self.text.update(places.grams[video, place], each[video], step, warmth)
        used, width = len(places.video), self.author.width
        content, residuals = content[1 : used + 1], residuals[1 : used + 1]
        tags = content[:, width : 2 * width] / places.tag_total[:, None]
        self.author.update(places.author, content[:, :width], step, warmth)
        video, place = np.nonzero(places.tags >= 0)
        self.tag.update(places.tags[video, place], tags[video], step, warmth)
        self.music.update(places.music, content[:, 2 * width : 3 * width], step, warmth)
        self.video.update(places.video, residuals, step, warmth)
