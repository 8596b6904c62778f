"""The best of many logits that may be recommended, exactly, one row after the other.

What about W of the maxima of 256 groups reach is a bound that about 1.1 W of a row's logits reach. These are sorted by
(logit descending, slot ascending) as one integer each, and taken in order. What is not allowed is seldom among the
best, so it is left in at first; a row that this or the author cap leaves short is done again without it, with ever more
candidates. The result is the same on each way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.compiled import compiled, part
from streams.core.ports import Floats

Ints = NDArray[np.int64]
GROUPS = 256
MARGIN = 12  # candidates beyond K, for what is not allowed and for the author cap
_FEW = 128  # keys up to which counting how many are below each is faster than to sort them
_SLACK = 4  # more than wanted that may reach the bound
_ORDER = np.int32(0x7FFF_FFFF)
_LOWEST = np.float32(np.finfo(np.float32).min)
_INFINITE = np.float32(np.inf)
_HIGH = np.uint32(0x8000_0000)
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_ADDED = np.where(_BITS, np.float32(0.0), -_INFINITE)  # [byte, bit]: what a bit that is not set makes of a logit
_LOW_BITS, _HALF = np.uint64(0xFFFF_FFFF), np.uint64(32)


@part
def _raise(maxima: Floats, values: Floats) -> None:
    """Write values over the maxima that they exceed."""
    for place in range(len(values)):
        maxima[place] = values[place] if values[place] > maxima[place] else maxima[place]


@part
def _bound(logits: Floats, wanted: int, maxima: Floats) -> np.float32:
    """Return what at least `wanted` logits reach; the lowest finite number where there may be no more than those.

    Args:
      maxima: as long as the logits, or longer; overwritten.
    """
    count = len(logits)
    if count <= wanted:
        return _LOWEST
    groups = min(max(GROUPS, 4 * wanted), count)
    maxima[:groups] = -_INFINITE
    for turn in range(count // groups):
        _raise(maxima, logits[turn * groups : (turn + 1) * groups])
    _raise(maxima, logits[count - count % groups :])
    words = maxima[:groups].view(np.int32)
    low, high = np.int64(_ORDER), -np.int64(_ORDER)
    for place in range(groups):  # integers in the order of the floats
        words[place] ^= (words[place] >> 31) & _ORDER
        low, high = min(low, words[place]), max(high, words[place])
    high += 1
    while high - low > 1:  # at least `wanted` reach low, fewer reach high
        middle, reached = (low + high) >> 1, 0
        for place in range(groups):
            reached += words[place] >= middle
        if reached < wanted:
            high = middle
        else:
            low = middle
            if reached <= wanted + _SLACK:
                break
    words[0] = low ^ ((low >> 31) & _ORDER)
    return max(maxima[0], _LOWEST)


@part
def _candidates(
    logits: Floats, bits: NDArray[np.uint8], bound: np.float32, found: NDArray[np.uint64], keys: NDArray[np.uint64]
) -> int:
    """Write the keys of what reaches the bound, is finite and allowed, in order; return how many there are.

    Args:
      found: room for as many keys as `keys` has.
    """
    words, count = logits.view(np.uint32), 0
    for slot in range(len(logits)):
        if logits[slot] >= bound and logits[slot] < _INFINITE and (bits[slot >> 3] >> (slot & 7)) & 1:
            word = np.uint32(0) if logits[slot] == 0 else words[slot]  # -0.0 is 0.0
            descending = word if word & _HIGH else ~(word | _HIGH)
            found[count] = (np.uint64(descending) << _HALF) | np.uint64(slot)
            count += 1
    if count > _FEW:
        keys[:count] = np.sort(found[:count])
        return count
    for at in range(count):  # by how many are below: no branch that has to be guessed
        below = 0
        for other in range(count):
            below += found[other] < found[at]
        keys[below] = found[at]
    return count


@part
def _mask(logits: Floats, bits: NDArray[np.uint8], out: Floats) -> None:
    """Write the logits into `out`, and what is not finite where a video is not allowed."""
    whole = len(logits) >> 3
    for byte in range(whole):
        added, start = _ADDED[bits[byte]], byte << 3
        for place in range(8):
            out[start + place] = logits[start + place] + added[place]
    for slot in range(whole << 3, len(logits)):
        out[slot] = logits[slot] + _ADDED[bits[slot >> 3], slot & 7]


@part
def _take(
    keys: NDArray[np.uint64], logits: Floats, authors: Ints, author_cap: int, kinds: Ints, most: Ints, left: Ints,
    threshold: np.float32, minimum: int, slots: Ints, values: Floats, filled: Ints,
) -> bool:  # fmt: skip
    """Take candidates in order, within the limits; return whether more of them would have been taken."""
    size, taken = len(slots), 0
    short = True
    left[:] = most
    for key in keys:
        slot = np.int64(key & _LOW_BITS)
        if not (logits[slot] > threshold or taken < minimum):
            short = False
            break
        author, crowd = authors[slot], 0
        if author_cap < size:  # a higher one limits nothing
            for place in range(taken):
                crowd += authors[slots[place]] == author
        if crowd >= author_cap:
            continue
        if len(left):
            kind = kinds[slot]
            if left[kind] <= 0:
                continue
            left[kind] -= 1
        slots[taken], values[taken] = slot, logits[slot]
        taken += 1
        if taken == size:
            short = False
            break
    filled[0] = taken
    for place in range(taken, size):
        slots[place], values[place] = -1, -_INFINITE
    return short


@compiled(
    "void(float32[:,::1], uint8[:,::1], int64[::1], int64, int64[::1], int64[::1], float32, int64[::1], int64[:,::1],"
    "float32[:,::1], int64[::1])"
)
def take_best(
    logits: Floats,
    bits: NDArray[np.uint8],
    authors: Ints,
    author_cap: int,
    kinds: Ints,
    most: Ints,
    threshold: np.float32,
    minimum: Ints,
    slots: Ints,
    values: Floats,
    filled: Ints,
) -> None:
    """Fill one slate per row: the first K, best first, that are allowed, finite and within the limits.

    Args:
      logits: [R, N]; bits: [R, N/8] allowed, little bit first; authors: [N].
      kinds, most: [N] places of kinds and [kinds] the most positions of each; both empty where kinds have no limits.
      threshold: a logit is taken that exceeds it, or while fewer than `minimum` [R] are.
      slots, values, filled: [R, K], [R, K] and [R], written; -1 and -inf beyond what is filled.
    """
    rows, count = logits.shape
    allowed, keys = np.empty(count, np.float32), np.empty(count, np.uint64)
    maxima, found = np.empty(count, np.float32), np.empty(count, np.uint64)
    left = np.empty(len(most), np.int64)
    for row in range(rows):
        given, wanted, masked = logits[row], slots.shape[1] + MARGIN, False
        while True:
            bound = _bound(given, wanted, maxima)
            reached = _candidates(given, bits[row], bound, found, keys)
            short = _take(
                keys[:reached], logits[row], authors, author_cap, kinds, most, left, threshold, minimum[row],
                slots[row], values[row], filled[row:],
            )  # fmt: skip
            if not short or bound == _LOWEST:
                break
            if masked:
                wanted *= 4
            else:
                _mask(logits[row], bits[row], allowed)
                given, masked = allowed, True
