"""A net in several trainer processes: each brings a batch of its own, and all move by the sum of what they found.

The step is that of one process with all the batches as one: the rows of all are found together, so new ones start
alike; gradients are summed over processes, and Adam is applied in each to the same sums. So processes that start from
the same weights keep the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import tensorflow as tf

from model.batches import Batch, BatchShape
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Ints
from model.features import VIDEO
from model.first import Profiles
from model.group import Group
from model.net_options import NetOptions
from model.nets import Net, Tensor
from model.placed import Placed
from model.tables import Places
from model.train import RoundAbandoned
from streams.core.ports import Floats


class Keys(msgspec.Struct, array_like=True):
    """What a process tells of its batch: the features of its videos, and the keys of profiles, as bytes."""

    videos: bytes
    profile: bytes
    shared: bytes


class Together(NamedTuple):
    """Rows of the batches of all processes.

    Attributes:
      where: [u] place of each video of the own batch among the distinct videos [W] of all.
      videos: rows of those.
      own, profiles: rows of profiles of the own batch [B, K], and of all batches, one after the other.
    """

    where: Ints
    videos: Places
    own: Profiles
    profiles: Profiles


class Ready(NamedTuple):
    """A batch with the rows of all, and with its own."""

    rows: Together
    placed: Placed


class JointNet(Net):
    """A net that learns as one with those of the other processes of its group.

    Every process must take the same number of steps; one that has no more batches brings empty ones. When `stopping`
    says yes in any process, all raise RoundAbandoned.
    """

    def __init__(
        self, config: ModelConfig, shape: BatchShape, options: NetOptions, group: Group, seed: int = 0
    ) -> None:
        super().__init__(config, shape, options, seed + 7919 * group.index)  # each its own dropout
        self.group = group
        self._find = tf.function(self._flat_sums, jit_compile=True)
        self._apply = tf.function(self._flat_move, jit_compile=True)

    def run(
        self, catalogue: Catalogue, batches: Iterable[Batch], warmth: Callable[[int], float] = lambda at: 1.0
    ) -> Iterator[float]:
        """Take a step on each batch, together with the other processes; yield the mean loss over all of them.

        As in one process, rows for the next batch are found while TensorFlow computes.
        """
        with ThreadPoolExecutor(1) as beside:
            coming = (self._ready(catalogue, batch) for batch in batches)
            ready, at = next(coming, None), 0
            while ready is not None:
                given = self._given(catalogue, ready.placed, warmth(at))
                begun = beside.submit(self._find, *given)
                following = next(coming, None)
                yield self._move_all(ready, begun.result(), given[-1][-2:], warmth(at))
                ready, at = following, at + 1

    def _ready(self, catalogue: Catalogue, batch: Batch) -> Ready:
        rows = self._together(catalogue, batch)
        kept = (self._rng.random((self.shape.places(batch), 1)) >= self.options.dropout).astype(np.float32)
        media = self._media(catalogue, batch, len(kept), self.options.media_dropout)
        return Ready(rows, Placed(batch, rows.videos.at(rows.where), rows.own, kept, media))

    def _move_all(self, ready: Ready, sums: Sequence[Tensor], pace: Tensor, warmth: float) -> float:
        """Move weights and rows by what all processes found; return the mean loss."""
        rows, (head, for_content, for_residuals, for_start) = ready.rows, (one.numpy() for one in sums)
        asked = np.array([self.stopping()], np.float32)
        by_video = (for_content, for_residuals * ready.placed.kept, self.tables.reading(for_residuals))
        flat = [asked, head, *self._laid_out(rows, by_video, for_start)]
        ends = np.cumsum([one.size for one in flat])[:-1]
        summed: list[Floats] = np.split(self.group.sum(np.concatenate([one.ravel() for one in flat])), ends)
        if summed[0][0]:
            raise RoundAbandoned  # all of them at once, since none can go on without the others
        loss, weight = summed[1][:2].tolist()
        total = np.float32(max(weight, 1.0))
        found: list[Floats] = [
            np.divide(one.reshape(like.shape), total, dtype=np.float32) for one, like in zip(summed, flat, strict=True)
        ]
        self._apply(tf.constant(found[1][2:]), pace)
        for_content, for_id, for_grams, for_start = found[2:]
        self.tables.update(rows.videos, for_content, for_id, for_grams, self.steps, warmth)
        self.profiles.update(rows.profiles, for_start, self.steps, warmth)
        return float(loss / total)

    def _together(self, catalogue: Catalogue, batch: Batch) -> Together:
        """Tell the others what this batch needs, hear what theirs do, and give rows to what has none."""
        mine = catalogue.features[batch.videos]
        said = msgspec.msgpack.encode(Keys(mine.tobytes(), batch.profile.tobytes(), batch.shared.tobytes()))
        told = [msgspec.msgpack.decode(one, type=Keys) for one in self.group.gather(said)]
        videos = np.frombuffer(b"".join(one.videos for one in told), VIDEO)
        keys, first = np.unique(videos["key"], return_index=True)
        profile = np.frombuffer(b"".join(one.profile for one in told), np.int64).reshape(-1, batch.profile.shape[1])
        shared = np.unique(np.frombuffer(b"".join(one.shared for one in told), np.int64))
        profiles = self.profiles.places(replace(batch, profile=profile, shared=shared), grow=True)
        begin = self.group.index * self.shape.rows
        return Together(
            where=np.searchsorted(keys, mine["key"]),
            videos=self.tables.find(videos[first], grow=True),
            own=Profiles(profiles.rows[begin : begin + self.shape.rows]),
            profiles=profiles,
        )

    def _laid_out(self, rows: Together, by_video: Sequence[Floats], start: Floats) -> list[Floats]:
        """Return gradients by the videos [W+1, ...] and windows of all processes; zeros where they are others'."""
        used, found = len(rows.where), []
        for one in by_video:
            wide = np.zeros((len(rows.videos.video) + 1, one.shape[1]), np.float32)
            wide[rows.where + 1] = one[1 : used + 1]
            found.append(wide)
        starts = np.zeros((len(rows.profiles.rows), start.shape[1]), np.float32)
        begin = self.group.index * self.shape.rows
        starts[begin : begin + self.shape.rows] = start
        return [*found, starts]

    def _flat_sums(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return loss, weight and gradients of dense weights in a row, then those of the rows."""
        loss, weight, found, *_ = self._sums(*given)
        dense, inputs = found[:-3], found[-3:]
        return tf.concat([[loss, weight], *(tf.reshape(one, [-1]) for one in dense)], axis=0), *inputs

    def _flat_move(self, gradients: Tensor, pace: Tensor) -> None:
        sizes = [one.shape.num_elements() for one in self._dense.values()]
        parts: list[Any] = tf.split(gradients, sizes)
        wanted = zip(parts, self._dense.values(), strict=True)
        self._move([tf.reshape(part, one.shape) for part, one in wanted], pace)
