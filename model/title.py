"""What a title and tags read like to the model in service: rows of hashed character n-grams, learned with all the rest.

No word list and no word boundaries are needed. A letter of a script without case (Han, kana, Hangul, Thai, Arabic)
gives the pair that begins with it, any other the three characters, so that a word of either kind is a few n-grams.
What is not there (no title, an n-gram nobody has seen) adds nothing.

Axes: N videos, E embedding, V rows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from model.content.text import folded
from streams.core.ports import Floats

TEXT = "text"  # the name of its table in the weights, which may lack it
BUCKETS = 1 << 14  # n-grams beyond so many share rows; 0 stands for none
GRAMS = 48  # of one video; of more, those with the smallest hashes are taken, which are the same in any text
_LAYOUT = np.dtype("<u2")
NOTHING = bytes(GRAMS * _LAYOUT.itemsize)
_CACHED = 1 << 15


@lru_cache(maxsize=_CACHED)
def packed_grams(title: str, tags: Sequence[str]) -> bytes:
    """Return the buckets [GRAMS] of a video's n-grams as bytes, each once, zeros behind them."""
    found = sorted({1 + crc32(one.encode()) % (BUCKETS - 1) for text in (title, *tags) for one in _grams(text)})
    return np.array(found[:GRAMS], _LAYOUT).tobytes().ljust(len(NOTHING), b"\0")


def _grams(text: str) -> list[str]:
    padded = f" {folded(text)} "
    sizes = [2 if "Lo" in map(unicodedata.category, padded[at : at + 2]) else 3 for at in range(len(padded) - 1)]
    found = [padded[at : at + size] for at, size in enumerate(sizes)]
    return [one for one, size in zip(found, sizes, strict=True) if len(one) == size and one.strip()]


def read_as(grams: NDArray[np.uint16], weights: Mapping[str, NDArray[Any]], size: int) -> Floats:
    """Return what n-grams [N, GRAMS] add to the video vectors before the tanh [N, E]: the mean of their rows.

    Bits do not depend on which videos are asked for together: rows are added one after the other.

    Args:
      size: E.
    """
    total: Floats = np.zeros((len(grams), size), np.float32)
    if not has_rows(weights):
        return total
    rows, at = weights[f"table.{TEXT}.rows"], places_of(weights[f"table.{TEXT}.keys"])[grams]
    for column in at.T:
        there = np.flatnonzero(column >= 0)
        total[there] += rows[column[there]]
    total /= counted(grams)[:, None]
    return total


def has_rows(weights: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether weights read titles at all."""
    return f"table.{TEXT}.keys" in weights


def counted(grams: NDArray[np.uint16]) -> Floats:
    """Return how many n-grams each video has [N], at least 1."""
    found: Floats = np.maximum(np.count_nonzero(grams, axis=1), 1).astype(np.float32)
    return found


def places_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of each bucket [BUCKETS], -1 where there is none, of ascending `keys` [V]."""
    found = np.full(BUCKETS, -1, np.int64)
    found[keys] = np.arange(len(keys))
    return found
