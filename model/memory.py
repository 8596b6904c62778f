"""A viewer's memory: a vector that every outcome moves towards its video, or away from it, by how much it surprises.

    memory ← DECAY · memory + GAIN · (outcome − expected) · video / (NORM + |video|²)

The outcome is the label of the step. What is expected is what the model says of the video to a viewer of whom nothing
is known, moved by FEEDBACK times what the memory holds of the video: what the memory knows already moves it less, and a
taste that is gone is unlearned faster than it would be forgotten.

Sources: Koren 2008 (a user as the sum of its residuals times the videos' vectors), and Widrow and Hoff 1960 for the
feedback. Nothing of it is trained but the vectors, and what the user vector makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.gru import dense, sigmoid
from streams.core.behaviour import FEATURES, LIKED
from streams.core.events import EventType
from streams.core.ports import Floats
from streams.core.tiles import padded

DECAY = 0.975  # of what an event brings, a third is left after 43 more
GAIN = 4.0
NORM = 10.0  # a trained vector's square is about as much, and a small one does not count as a large one
FEEDBACK = 0.25

WATCHED = FEATURES.index("watch_ratio")
HIDDEN, BOUGHT, ENTERED = (
    FEATURES.index(f"is_{one.value}") for one in (EventType.HIDE, EventType.PURCHASE, EventType.LIVE_ENTER)
)
LIKES = [FEATURES.index(f"is_{name}") for name in sorted(LIKED)]


class Expected(NamedTuple):
    """What is expected of a video by a viewer of whom nothing is known: vector · `slope` [E] + `level` [1], a logit."""

    slope: Floats
    level: Floats


def expected(weights: Mapping[str, NDArray[Any]]) -> Expected:
    """Return it for the weights of a version; the video's own bias is left out, for a step does not know it."""
    nobody = np.tanh(weights["user.bias"])[None]
    crossed = weights.get("head.interaction")
    slope = weights["head.video"] if crossed is None else weights["head.video"] + (nobody @ crossed)[0]
    return Expected(slope, nobody @ weights["head.user"] + weights["head.bias"])


def outcomes(behaviour: Floats) -> Floats:
    """Return the labels [B] of steps by their behaviour inputs [B, F], as `streams.core.behaviour.label` has them."""
    liked = behaviour[:, LIKES].max(axis=1)
    watched = np.maximum(np.minimum(2.0 * behaviour[:, WATCHED], 1.0), behaviour[:, ENTERED])
    graded = np.maximum((watched + liked) / np.float32(2.0), behaviour[:, BOUGHT])
    found: Floats = graded * (np.float32(1.0) - behaviour[:, HIDDEN])
    return found


def remember(memory: Floats, vectors: Floats, behaviour: Floats, nobody: Expected) -> Floats:
    """Return memories [B, E] one step later; a row's bits do not depend on its batch.

    Args:
      memory, vectors: [B, E] float32; the vector of an unknown video is zeros, and brings nothing.
      behaviour: [B, F].
    """
    count = len(memory)
    memory, vectors = padded(memory), padded(vectors)
    logit = dense(vectors, nobody.slope[:, None], nobody.level)[:, 0]
    logit += np.float32(FEEDBACK) * (memory * vectors).sum(axis=1)
    surprise = outcomes(padded(behaviour)) - sigmoid(logit)
    surprise *= np.float32(GAIN) / (np.float32(NORM) + (vectors * vectors).sum(axis=1))
    moved: Floats = np.float32(DECAY) * memory + surprise[:, None] * vectors
    return moved[:count]
