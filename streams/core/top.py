"""The best of many logits, exactly: candidates above a bound from group maxima, sorted as one integer each.

A partition of all logits costs 20 times a partition of the maxima of 256 groups, and the W-th largest maximum is a
bound that at least W logits reach. What reaches it, about 1.1 W a row, is sorted by (logit descending, slot ascending).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.core.ports import Floats

GROUPS = 256
_LOWEST = np.float32(np.finfo(np.float32).min)
_NONE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_HIGH = np.uint32(0x8000_0000)


@dataclass(frozen=True)
class Candidates:
    """What reaches the bound in a tile of rows.

    Attributes:
      rows, slots: int64 [M], row by row, slots ascending.
      logits: float32 [M].
      whole: bool [B]; every finite logit of the row is here.
    """

    rows: NDArray[np.int64]
    slots: NDArray[np.int64]
    logits: Floats
    whole: NDArray[np.bool_]


def candidates(logits: Floats, wanted: int) -> Candidates:
    """Return at least the `wanted` best of each row of logits [B, N]; -inf stands for what must not be chosen."""
    rows, count = logits.shape
    groups = max(GROUPS, 4 * wanted)
    if count <= 2 * groups:
        bound = np.full(rows, _LOWEST)
        if count > 4 * wanted:
            bound = np.maximum(np.partition(logits, count - wanted, axis=1)[:, count - wanted], _LOWEST)
    else:
        full = count - count % groups
        maxima = np.concatenate([logits[:, :full].reshape(rows, -1, groups).max(axis=1), logits[:, full:]], axis=1)
        place = maxima.shape[1] - wanted
        bound = np.maximum(np.partition(maxima, place, axis=1)[:, place], _LOWEST)
    flat = np.flatnonzero(logits >= bound[:, None])  # never what is not a number
    row = flat // count if count else flat
    whole = (bound == _LOWEST) | (wanted >= count)
    return Candidates(row, flat - row * count, logits.ravel()[flat], whole)


def joined(parts: Sequence[Candidates], tile: int) -> Candidates:
    """Return candidates of tiles of `tile` rows as one batch."""
    if len(parts) == 1:
        return parts[0]
    rows = [part.rows + number * tile for number, part in enumerate(parts)]
    slots, logits = [part.slots for part in parts], [part.logits for part in parts]
    return Candidates(
        np.concatenate(rows), np.concatenate(slots), np.concatenate(logits), np.concatenate([p.whole for p in parts])
    )


def in_order(found: Candidates, rows: int) -> tuple[NDArray[np.int64], Floats]:
    """Return slots [B, C] and logits [B, C] of candidates, best first, ties by the lower slot; -1 and -inf beyond."""
    counts = np.bincount(found.rows, minlength=rows)
    width = int(counts.max(initial=0))
    starts = np.cumsum(counts) - counts
    keys = np.full((rows, width), _NONE)
    keys[found.rows, np.arange(len(found.rows)) - starts[found.rows]] = _sort_keys(found.logits, found.slots)
    keys.sort(axis=1)
    slots = (keys & np.uint64(0xFFFF_FFFF)).astype(np.int64)
    logits = _logits_of(keys)
    beyond = np.arange(width) >= counts[:, None]
    slots[beyond], logits[beyond] = -1, -np.inf
    return slots, logits


def _sort_keys(logits: Floats, slots: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return integers that ascend as logits descend and slots ascend."""
    bits = (logits + np.float32(0.0)).view(np.uint32)  # -0.0 becomes 0.0
    descending = np.where(bits & _HIGH, bits, ~(bits | _HIGH))
    return (descending.astype(np.uint64) << np.uint64(32)) | slots.astype(np.uint64)


def _logits_of(keys: NDArray[np.uint64]) -> Floats:
    descending = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(descending & _HIGH, descending, ~descending & ~_HIGH)
    return bits.astype(np.uint32).view(np.float32)
