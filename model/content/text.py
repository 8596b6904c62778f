"""Text of any script to a vector: hashed character n-grams, and the mean of their embeddings.

No word list and no word boundaries are needed, so Chinese and Thai work as English does. The rows start random (any two
n-grams nearly at right angles), which makes the cosine of two texts the share of n-grams that they have in common, and
they are trained with the rest of the model.
"""

from __future__ import annotations

import re
import unicodedata
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.core.hashing import draws, uniforms
from streams.core.ports import Floats

BUCKETS = 4_096
SIZE = 32
MAX_CHARACTERS = 500
_SPACE = re.compile(r"\s+")


def ngram_ids(text: str) -> NDArray[np.int64]:
    """Return the bucket of every n-gram of the `folded` text, n from 1 to 3, in order; empty without letters."""
    words = folded(text)
    if not words:
        return np.zeros(0, np.int64)
    padded = f" {words} "
    grams = [padded[at : at + n] for n in (1, 2, 3) for at in range(len(padded) - n + 1)]
    return np.array([crc32(gram.encode()) % BUCKETS for gram in grams if gram.strip()], np.int64)


def folded(text: str) -> str:
    """Return the words of a text with one space between them.

    Case, width and compatibility forms are folded (NFKC); punctuation and symbols are spaces.
    """
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold()
    kept = "".join(one if unicodedata.category(one)[0] in "LMN" else " " for one in plain)
    return _SPACE.sub(" ", kept).strip()


def initial_rows(seed: int) -> Floats:
    """Return untrained rows [BUCKETS, SIZE], uniform with mean 0 and variance 1/SIZE."""
    words = draws(np.arange(BUCKETS, dtype=np.uint64) + np.uint64(seed << 32), SIZE)
    return np.asarray((uniforms(words) - 0.5) * np.sqrt(12.0 / SIZE), np.float32)


def text_vector(text: str, rows: Floats) -> Floats | None:
    """Return the unit vector [SIZE] of a text, the mean of its n-grams' rows; None where there is none."""
    ids = ngram_ids(text)
    if not len(ids):
        return None
    mean = rows[ids].mean(axis=0)
    return np.asarray(mean / max(float(np.sqrt(mean @ mean)), 1e-6), np.float32)
