"""Videos to numbers: the keys of their categories and their numeric content, then the content input of the video tower.

Shared by serving and training, so that both see the same video.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from math import log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.standard import standard_of, standardised
from model.title import GRAMS, NOTHING, has_rows, packed_grams, read_as
from streams.core.events import Kind, Video
from streams.core.hashing import key64
from streams.core.ports import Floats

Ints = NDArray[np.int64]

MAX_TAGS = 8  # tags of a video that are looked up; those beyond count in the mean as unknown ones do, with zeros
_KINDS = tuple(Kind)
NUMBERS = 1 + len(_KINDS)

#: One video: keys (0 where there is none; an unused tag is 0 too), number of tags, numeric content, and n-grams.
VIDEO = np.dtype(
    [
        ("key", "<i8"),
        ("author", "<i8"),
        ("music", "<i8"),
        ("tags", "<i8", (MAX_TAGS,)),
        ("tag_total", "<i8"),
        ("numbers", "<f4", (NUMBERS,)),
        ("grams", "<u2", (GRAMS,)),
    ]
)
_LAYOUT = struct.Struct(f"<{4 + MAX_TAGS}q{NUMBERS}f")
_CACHED = 1 << 15  # 112 bytes each, and more than the pool's default capacity: a new version finds all of them


def numbers(video: Video) -> tuple[float, ...]:
    """Return the numeric content [NUMBERS]: log1p of the duration in seconds over 5, and the kind one-hot."""
    return (log1p(video.duration_ms / 1000.0) / 5.0, *(float(kind is video.kind) for kind in _KINDS))


def features(videos: Sequence[Video], read: bool = False) -> NDArray[Any]:
    """Return features [N] (dtype `VIDEO`) of the videos, in order.

    Args:
      read: with the n-grams of titles and tags, which take longer than all the rest; zeros otherwise.
    """
    if not videos:
        return np.zeros(0, VIDEO)
    grams = (packed_grams(one.title, one.tags) if read else NOTHING for one in videos)
    pairs = zip(map(_packed, videos), grams, strict=True)
    return np.frombuffer(b"".join(chain.from_iterable(pairs)), VIDEO)


@lru_cache(maxsize=_CACHED)
def _packed(video: Video) -> bytes:
    tags = [key64(tag) for tag in video.tags[:MAX_TAGS]]
    return _LAYOUT.pack(
        key64(video.video_id),
        key64(video.author_id),
        key64(video.music_id) if video.music_id else 0,
        *tags,
        *(0,) * (MAX_TAGS - len(tags)),
        len(video.tags),
        *numbers(video),
    )


def lookup(table: Ints, keys: Ints) -> Ints:
    """Return the rows of `keys` in the ascending `table` [V], same shape as `keys`; -1 where absent and for key 0."""
    if not len(table):
        return np.full(keys.shape, -1, np.int64)
    at = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where((table[at] == keys) & (keys != 0), at, -1)


def take(rows: Floats, index: Ints) -> Floats:
    """Return `rows` [V, W] at `index` [...]; zeros for -1."""
    if not len(rows):
        return np.zeros((*index.shape, rows.shape[1]), np.float32)
    return np.where((index >= 0)[..., None], rows[index], np.float32(0.0))


def content(found: NDArray[Any], weights: Mapping[str, NDArray[Any]]) -> Floats:
    """Return content inputs [N, C] of features [N]: author row, mean of tag rows, music row, standardised numbers."""

    def rows(name: str, keys: Ints) -> Floats:
        return take(weights[f"table.{name}.rows"], lookup(weights[f"table.{name}.keys"], keys))

    total = np.maximum(found["tag_total"], 1).astype(np.float32)
    tags = rows("tag", found["tags"]).sum(axis=1) / total[:, None]
    counted = standardised(found["numbers"], standard_of(weights))
    return np.concatenate([rows("author", found["author"]), tags, rows("music", found["music"]), counted], 1)


def residuals(found: NDArray[Any], weights: Mapping[str, NDArray[Any]]) -> Floats:
    """Return learned rows [N, E+1] of features [N]: E to add before the tanh, and the bias of the video."""
    own = take(weights["table.video.rows"], lookup(weights["table.video.keys"], found["key"]))
    if has_rows(weights):
        own[:, :-1] += read_as(found["grams"], weights, own.shape[1] - 1)
    return own
