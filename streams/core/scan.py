"""The best members of the cells that promise most to a query, one query after the other.

Products are added up direction by direction, 64 members side by side, so that their bits depend neither on the
processor nor on what else is asked. The largest are found as in `streams.core.best`: by a bound from maxima of groups,
then as integers in the order of (product descending, slot ascending).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.compiled import compiled, part
from streams.core.members import LANES
from streams.core.ports import Floats

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
_LANES = np.uint64(LANES)
_GROUPS = 256  # a multiple of the lanes
_FEW = 128  # keys up to which counting how many are below each is faster than to sort them
_SLACK = 4  # more than wanted that may reach the bound
_ORDER = np.int32(0x7FFF_FFFF)
_INFINITE = np.float32(np.inf)
_LOWEST = np.float32(np.finfo(np.float32).min)
_HIGH = np.uint32(0x8000_0000)
_LOW_BITS, _HALF = np.uint64(0xFFFF_FFFF), np.uint64(32)


@part
def _multiply(query: Floats, block: Floats, products: Floats) -> None:
    """Write the products [64] of a query [depth] with the members of a block [depth * 64]; added in one order.

    Unsigned places in one flat array let the compiler see that nothing overlaps and no index is negative.
    """
    for lane in range(LANES):
        products[lane] = 0.0
    for at in range(0, len(query), 4):
        one, two, three, four = query[at], query[at + 1], query[at + 2], query[at + 3]
        begin = np.uint64(at) * _LANES
        for lane in range(LANES):
            place = begin + np.uint64(lane)
            products[lane] = (
                products[lane]
                + one * block[place]
                + two * block[place + _LANES]
                + three * block[place + _LANES + _LANES]
                + four * block[place + _LANES + _LANES + _LANES]
            )
    for lane in range(LANES):  # what is not finite is never found
        products[lane] = products[lane] if products[lane] < _INFINITE else -_INFINITE


@part
def _bound(values: Floats, wanted: int, maxima: Floats) -> np.float32:
    """Return what at least `wanted` values reach, as far as so many are finite.

    Args:
      values: a multiple of 64, finite or -inf; maxima: room for the groups.
    """
    groups = max(_GROUPS, -(-4 * wanted // LANES) * LANES)
    if len(values) <= wanted:
        return _LOWEST
    groups = min(groups, len(values))
    maxima[:groups] = -_INFINITE
    for start in range(0, len(values), groups):
        some = values[start : start + groups]
        for place in range(len(some)):
            maxima[place] = some[place] if some[place] > maxima[place] else maxima[place]
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
def _reaching(values: Floats, blocks: Ints, ids: Ints, bound: np.float32, keys: Words) -> int:
    """Write the keys of values that reach the bound, and return how many do.

    Args:
      values: [n * 64]; blocks: [n], where in `ids` [blocks, 64] the names of each 64 stand; keys: room for as many.
    """
    count = 0
    for turn in range(len(blocks)):
        some, reached = values[turn * LANES : (turn + 1) * LANES], 0
        for lane in range(LANES):
            reached += some[lane] >= bound
        if reached:
            words = some.view(np.uint32)
            for lane in range(LANES):
                if some[lane] >= bound:
                    word = np.uint32(0) if some[lane] == 0 else words[lane]  # -0.0 is 0.0
                    descending = word if word & _HIGH else ~(word | _HIGH)
                    keys[count] = (np.uint64(descending) << _HALF) | np.uint64(ids[blocks[turn], lane])
                    count += 1
    return count


@part
def _largest(values: Floats, blocks: Ints, ids: Ints, wanted: int, maxima: Floats, keys: Words, found: Ints) -> int:
    """Write the names of the `wanted` largest values, best first, ties by the lower name; return how many there are."""
    count = _reaching(values, blocks, ids, _bound(values, wanted, maxima), keys)
    if count > _FEW:
        keys[:count] = np.sort(keys[:count])
        for place in range(min(count, wanted)):
            found[place] = np.int64(keys[place] & _LOW_BITS)
        return min(count, wanted)
    for at in range(count):  # by how many are below: no branch that has to be guessed
        below = 0
        for other in range(count):
            below += keys[other] < keys[at]
        if below < wanted:
            found[below] = np.int64(keys[at] & _LOW_BITS)
    return min(count, wanted)


@compiled(
    "int64[:,::1](float32[:,::1], float32[:,::1], int64, float32[:,::1], int64[:,::1], int64[:,::1], int64[::1],int64)"
)
def nearest(
    queries: Floats, promises: Floats, probes: int, blocks: Floats, ids: Ints, table: Ints, counts: Ints, wanted: int
) -> Ints:
    """Return slots [B, wanted] of the members with the largest products, of the cells with the largest promises.

    Best first, ties by the lower slot; -1 fills up.

    Args:
      queries: [B, depth], depth a multiple of 4; promises: [B, cells], finite, cells filled up with -inf to a multiple
        of 64.
      probes: cells that are looked into.
      blocks, ids, table, counts: of `streams.core.members.Members`, the blocks as [blocks, depth * 64].
    """
    rows, width = promises.shape
    room = max(probes * table.shape[1] * LANES, width)
    products, keys, looked = np.empty(room, np.float32), np.empty(room, np.uint64), np.empty(room // LANES, np.int64)
    maxima = np.empty(max(_GROUPS, 4 * max(wanted, probes) + LANES), np.float32)
    names, cells = np.arange(width).reshape((width // LANES, LANES)), np.empty(probes, np.int64)
    every = np.arange(width // LANES)
    found = np.full((rows, wanted), -1, np.int64)
    for row in range(rows):
        used = 0
        for place in range(_largest(promises[row], every, names, probes, maxima, keys, cells)):
            cell = cells[place]
            for turn in range(-(-counts[cell] // LANES)):
                block = table[cell, turn]
                _multiply(queries[row], blocks[block], products[used * LANES : (used + 1) * LANES])
                looked[used] = block
                used += 1
            over = counts[cell] % LANES
            if over:
                products[(used - 1) * LANES + over : used * LANES] = -_INFINITE
        _largest(products[: used * LANES], looked[:used], ids, wanted, maxima, keys, found[row])
    return found
