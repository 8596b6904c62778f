"""The state a user begins with: the mean of learned rows of its profile's keys, through a tanh.

Where no profile is known, that is zeros, as without profiles at all. `first_hidden` is what the stream serves;
`FirstStates` holds the rows while they are trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.batches import Batch
from model.examples import Ints
from model.features import lookup, take
from model.tables import Table
from streams.core.ports import Floats
from streams.core.tiles import padded


def first_hidden(profiles: Sequence[Sequence[int]], weights: Mapping[str, NDArray[Any]], size: int) -> Floats:
    """Return the hidden states [B, H] of users with these keys; bits do not depend on who else is asked for.

    Args:
      size: H.
    """
    if "table.profile.keys" not in weights:
        return np.zeros((len(profiles), size), np.float32)
    keys = np.zeros((len(profiles), max(map(len, profiles), default=0)), np.int64)
    for row, own in enumerate(profiles):
        keys[row, : len(own)] = own
    found = lookup(weights["table.profile.keys"], keys)
    hidden: Floats = np.tanh(padded(_mean(take(weights["table.profile.rows"], found), found)))
    return hidden[: len(profiles)]


def _mean(rows: Floats, found: Ints) -> Floats:
    """Return the means [B, H] of rows [B, K, H], of which those count that were found [B, K]."""
    total = np.zeros((len(rows), rows.shape[2]), np.float32)
    for place in range(rows.shape[1]):  # one after the other: NumPy's own sum may group them by their number
        total += rows[:, place]
    total /= np.maximum((found >= 0).sum(axis=1), 1).astype(np.float32)[:, None]
    return total


@dataclass(frozen=True)
class Profiles:
    """Rows [B, K] of the keys of a batch's windows, -1 where there is none."""

    rows: Ints

    @property
    def count(self) -> Floats:
        """Of rows, by window [B], at least 1."""
        found: Floats = np.maximum((self.rows >= 0).sum(axis=1), 1).astype(np.float32)
        return found


class FirstStates:
    """A table of rows by profile key, beside the compiled step as those of `model.tables`."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def places(self, batch: Batch, grow: bool) -> Profiles:
        """Find the rows of a batch's profiles; `grow` gives rows to keys that enough users have."""
        if grow:
            self.table.find(batch.shared, True)
        return Profiles(self.table.find(batch.profile.ravel(), False).reshape(batch.profile.shape))

    def start(self, places: Profiles) -> Floats:
        """Return what goes through the tanh [B, H]."""
        out = np.zeros((len(places.rows), self.table.width), np.float32)
        told = np.flatnonzero((places.rows >= 0).any(axis=1))  # most windows begin where no profile counts any more
        if len(told):
            found = places.rows[told]
            out[told] = _mean(self.table.take(found.ravel()).reshape(*found.shape, self.table.width), found)
        return out

    def update(self, places: Profiles, gradient: Floats, step: int, warmth: float) -> None:
        """Apply the gradient of `start` [B, H] to the rows it came from."""
        window, place = np.nonzero(places.rows >= 0)
        if len(window):
            self.table.update(
                places.rows[window, place], gradient[window] / places.count[window][:, None], step, warmth
            )
