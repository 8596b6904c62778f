"""Stable 64-bit keys and counter-based random numbers: the same on every machine, in every process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_WORD = 0xFFFFFFFFFFFFFFFF
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@lru_cache(maxsize=1 << 17)
def key64(text: str) -> int:
    """Return a signed 64-bit key of an id; two ids of a billion share one with probability below 0.03."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def event_keys(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return 64-bit keys [B] of ids, for a whole batch at once and without a cache.

    Unlike `key64` this is no cryptographic hash: it tells ids of one user apart, where a crafted collision only
    harms who crafted it. A key depends on its text alone.
    """
    raw = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, raw), np.uint64, len(raw))
    count = (int(lengths.max(initial=0)) + 7) // 8
    if not count:
        return mix64(lengths).view(np.int64)
    words = np.array(raw, dtype=f"S{8 * count}").view("<u8").reshape(len(raw), count)
    keys = mix64(lengths)
    for place in range(count):
        keys = np.where(lengths > np.uint64(8 * place), mix64(keys ^ words[:, place]), keys)
    return keys.view(np.int64)


def mix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the splitmix64 finaliser of `values`, element by element.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    z = np.asarray(values * _GAMMA)  # products of arrays wrap around without a warning
    z += _GAMMA
    z ^= z >> _S30
    z *= _MIX1
    z ^= z >> _S27
    z *= _MIX2
    z ^= z >> _S31
    return z


def draws_at(seeds: NDArray[np.uint64], index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return single draws of `draws`: of seeds [...] at index [...] (from 1), broadcast together."""
    return mix64(mix64(seeds) ^ mix64(index))


def draws(seeds: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """Return random words [B, count], a pure function of seeds [B] and the index of the draw."""
    index = np.arange(1, count + 1, dtype=np.uint64)
    return mix64(mix64(seeds)[:, None] ^ mix64(index)[None, :])


def uniforms(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return words as float64 in [0, 1), same shape."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bucket(user_id: str, salt: str) -> float:
    """Return a place in [0, 1) that depends on the user and the salt alone."""
    return ((key64(f"{salt}/{user_id}") & _WORD) >> 11) * 2.0**-53


def seeds_of(partition: int, offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return seeds [B] of events, from their partition and offsets [B]."""
    base = mix64(np.array([partition], dtype=np.uint64))[0]
    return mix64(offsets.astype(np.uint64) ^ base)
