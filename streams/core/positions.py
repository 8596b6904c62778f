"""What is drawn for positions of slates, and slates put together of the best and of what was drawn, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.compiled import compiled, part
from streams.core.ports import Floats

Ints = NDArray[np.int64]
TRIES = 16  # draws for one position; when all fall on what is taken or not allowed, the position is not explored
_GAMMA, _MIX1, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)


@part
def _mix(value: np.uint64) -> np.uint64:
    """Return the splitmix64 finaliser, as `streams.core.hashing.mix64` does."""
    z = value * _GAMMA + _GAMMA
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@part
def _holds(slots: Ints, slot: np.int64) -> bool:
    found = False
    for one in slots:
        found |= one == slot
    return found


@compiled("int64[:,::1](int64[:,::1], int64[::1], int64, uint8[:,::1], float64, uint64[::1])")
def draw(
    best: Ints, length: Ints, count: int, bits: NDArray[np.uint8], share: float, seeds: NDArray[np.uint64]
) -> Ints:
    """Return drawn slots [R, K], -1 where a position is not explored; see `streams.core.explore`.

    Args:
      bits: [R, N/8] what may be drawn, little bit first.
    """
    rows, size = best.shape
    drawn = np.full((rows, size), -1, np.int64)
    mixed = np.empty(size * (TRIES + 1) + 1, np.uint64)
    for index in range(len(mixed)):
        mixed[index] = _mix(np.uint64(index))
    for row in range(rows):
        seed = _mix(seeds[row])
        for position in range(min(size, length[row])):
            if np.float64(_mix(seed ^ mixed[position + 1]) >> _S11) * 2.0**-53 < share:
                first = size + 1 + position * TRIES
                for index in range(first, first + TRIES):
                    slot = np.int64(_mix(seed ^ mixed[index]) % np.uint64(count))
                    usable = (bits[row, slot >> 3] >> (slot & 7)) & 1 and not _holds(best[row], slot)
                    if usable and not _holds(drawn[row, :position], slot):
                        drawn[row, position] = slot
                        break
    return drawn


@compiled(
    "Tuple((int64[:,::1], float32[:,::1], boolean[:,::1], int64[::1]))"
    "(int64[:,::1], float32[:,::1], int64[::1], int64[:,::1])"
)
def put_together(best: Ints, values: Floats, filled: Ints, drawn: Ints) -> tuple[Ints, Floats, NDArray[np.bool_], Ints]:
    """Return slates with the drawn in their positions: slots, logits, what is explored [R, K], and lengths [R].

    The best move down and drop out beyond K; where there are too few of them, what is drawn moves up. The logits of
    what was drawn are -inf.

    Args:
      best, values, filled: slots [R, K], their logits [R, K], and how many there are [R].
      drawn: [R, K] slots, -1 for none.
    """
    rows, size = best.shape
    slots, logits = np.full((rows, size), -1, np.int64), np.full((rows, size), -np.inf, np.float32)
    explored, lengths = np.zeros((rows, size), np.bool_), np.zeros(rows, np.int64)
    for row in range(rows):
        used = at = 0
        for position in range(size):
            if drawn[row, position] >= 0:
                slots[row, at], explored[row, at] = drawn[row, position], True
                at += 1
            elif used < filled[row]:
                slots[row, at], logits[row, at] = best[row, used], values[row, used]
                used += 1
                at += 1
        lengths[row] = at
    return slots, logits, explored, lengths
