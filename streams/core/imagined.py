"""Viewers who were never there: what queries a version makes, before anybody has asked it.

An index is laid out for the queries that it will be asked. Imagined ones make it a function of the version and of the
videos alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import FEATURES, NUMBERS, expand
from streams.core.ports import Floats, Scorer

_VIEWERS, _STEPS, _CHOICE, _SEED = 512, 16, 4, 1  # each step shows the best of so many videos
_SECONDS = 15.0  # length of every video they watch
_FLAGS = [name for name in FEATURES if name not in ("watch_ratio", "log_dwell", "log_gap")]


def imagined_queries(scorer: Scorer, vectors: Floats) -> Floats:
    """Return queries [Q, D] of viewers who like what is near to some video of `vectors` [N, E], and are shown such."""
    rng = np.random.default_rng(_SEED)
    mean = vectors.mean(axis=0)
    tastes = vectors[rng.integers(len(vectors), size=_VIEWERS)] - mean
    hidden = np.zeros((_VIEWERS, scorer.hidden_size), np.float32)
    every = np.arange(_VIEWERS)
    for _ in range(_STEPS):
        offered = vectors[rng.integers(len(vectors), size=(_CHOICE, _VIEWERS))]
        match = ((offered - mean) * tastes).sum(axis=2)
        match /= match.std() + 1e-6
        best = match.argmax(axis=0)
        shown = np.ascontiguousarray(offered[best, every])
        hidden = scorer.step(hidden, shown, _behaviour(match[best, every] - 0.5))
    return scorer.queries(hidden)


def _behaviour(liking: Floats) -> Floats:
    """Return behaviour inputs [B, F] of viewers who like what they see so much, in standard deviations."""
    ratios = 1.0 / (1.0 + np.exp(-2.0 * liking))
    numbers = np.zeros((len(liking), NUMBERS), np.float16)
    numbers[:, 0] = ratios / 2.0
    numbers[:, 1] = np.log1p(_SECONDS * ratios) / 5.0
    numbers[:, 2] = np.log1p(_SECONDS) / 15.0
    everyone = np.ones(len(liking), bool)
    told: dict[str, NDArray[np.bool_]] = {
        "watch_known": everyone, "duration_known": everyone, "completed": ratios >= 0.95, "is_like": liking > 1.5,
        "is_skip": ratios < 0.15,
    }  # fmt: skip
    flags = np.zeros(len(liking), np.uint16)
    for name, values in told.items():
        flags |= values.astype(np.uint16) << np.uint16(_FLAGS.index(name))
    return expand(numbers, flags)
