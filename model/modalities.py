"""What a video looks, sounds and reads like as input of the video tower, where each of these may be missing.

A missing modality is normal: its vector is zeros, and an input of its own says so, whose row in the kernel is what the
model learned of videos without it. Shared by serving and training, so that both see the same video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from streams.core.content import SIZES, VideoContent
from streams.core.ports import Floats

Modality = Literal["frames", "sound", "text"]

MODALITIES: tuple[Modality, ...] = get_args(Modality)
WIDTH = sum(SIZES.values())
_ENDS = np.cumsum([SIZES[name] for name in MODALITIES]).tolist()
_COLUMNS = {name: slice(end - SIZES[name], end) for name, end in zip(MODALITIES, _ENDS, strict=True)}
_NOTHING = {name: bytes(2 * size) for name, size in SIZES.items()}

Halves = NDArray[np.float16]  # [N, WIDTH], zeros where a modality is missing
Present = NDArray[np.bool_]  # [N, 3]


def size_of(chosen: Sequence[Modality]) -> int:
    """Return the columns M of the inputs of these modalities."""
    return sum(SIZES[name] + 1 for name in chosen)


def unpacked(contents: Sequence[VideoContent | None], count: int) -> tuple[Halves, Present]:
    """Return vectors and presence of `count` videos; `contents` may be empty where nothing is known of any."""
    present = np.zeros((count, len(MODALITIES)), np.bool_)
    known = [at for at, one in enumerate(contents) if one is not None]
    halves = np.zeros((count, WIDTH), np.float16)
    if known:
        found = [one for one in contents if one is not None]
        packed = b"".join([getattr(one, name) or _NOTHING[name] for one in found for name in MODALITIES])
        halves[known] = np.frombuffer(packed, "<f2").reshape(len(found), WIDTH)
        present[known] = [[bool(getattr(one, name)) for name in MODALITIES] for one in found]
    return halves, present


def inputs(halves: Halves, present: Present, chosen: Sequence[Modality]) -> Floats:
    """Return the inputs [N, M] of the chosen modalities: their vectors one after the other, then their absences."""
    where = [MODALITIES.index(name) for name in chosen]
    vectors = [np.where(present[:, [at]], halves[:, _COLUMNS[MODALITIES[at]]], np.float16(0)) for at in where]
    return np.concatenate([*vectors, ~present[:, where]], axis=1, dtype=np.float32)


def rows_of(chosen: Sequence[Modality]) -> dict[Modality, NDArray[np.int64]]:
    """Return the columns of the inputs that belong to each modality, its absence last."""
    found: dict[Modality, NDArray[np.int64]] = {}
    start, total = 0, sum(SIZES[name] for name in chosen)
    for place, name in enumerate(chosen):
        found[name] = np.append(np.arange(start, start + SIZES[name]), total + place)
        start += SIZES[name]
    return found
