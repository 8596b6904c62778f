"""What version 0 knows before anything was learned: a viewer likes what resembles the videos it watched through.

Random recurrent weights need tens of thousands of examples before they remember anything of use. These start as two
moving averages of video vectors: one gated by the outcome (little of a skipped video enters, much of one that was
watched or liked), one of everything that was shown. Their difference is the user vector, and the interaction is a
similarity. Every number here is a start, and all of it is trained.
"""

from __future__ import annotations

import numpy as np

from model.config import ModelConfig
from streams.core.behaviour import FEATURES
from streams.core.ports import Floats

NOISE = 0.3  # of the random weights of the GRU that stay around the prior, so that units can part
MIXING = 0.1  # of those that mix units: into an average, into the user vector, between user and video
KEPT = 2.5  # update bias: 1 - sigmoid(2.5) = 8 % of a step enters the average of everything shown
KEPT_GATED = 3.5  # 3 % of an ignored video enters the gated average
GATES = {"watch_ratio": -4.0, "completed": -1.0, "is_like": -2.0, "is_skip": 1.0, "is_hide": 2.0}
ENTERING = 1.5  # gain from a video vector to what enters an average
CONTRAST = 2.0  # gain from the averages to the user vector
SHOWN = 0.8  # how much of the average of everything shown is taken off
SIMILARITY = 3.0  # gain of the similarity of user and video
SPREAD = 2.0  # gain of the video tower: two videos with nothing in common differ visibly


def with_prior(weights: dict[str, Floats], config: ModelConfig) -> None:
    """Turn randomly drawn weights into the prior, in place. Shapes are those of `model.weights.specs`."""
    size = min(config.embedding_size, config.hidden_size // 2)
    liked, shown = np.arange(size), size + np.arange(size)
    _averages(weights, config, liked, shown)
    users = weights["user.kernel"]
    users *= MIXING
    users[liked, liked] += CONTRAST
    users[shown, liked] -= SHOWN * CONTRAST
    weights["video.kernel"] *= SPREAD
    if "head.interaction" in weights:
        weights["head.interaction"] *= MIXING
        weights["head.interaction"][liked, liked] += SIMILARITY


def _averages(
    weights: dict[str, Floats],
    config: ModelConfig,
    liked: np.ndarray[tuple[int], np.dtype[np.int64]],
    shown: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> None:
    """Make the units `liked` and `shown` of the GRU moving averages of the video vector."""
    hidden, embedding = config.hidden_size, config.embedding_size
    kernel, recurrent, bias = weights["gru.kernel"], weights["gru.recurrent"], weights["gru.bias"]
    kernel *= NOISE
    recurrent *= NOISE
    for units, kept in ((liked, KEPT_GATED), (shown, KEPT)):
        bias[0, units] = kept
        candidate = 2 * hidden + units
        kernel[:, candidate] *= MIXING
        recurrent[:, candidate] *= MIXING
        kernel[np.arange(len(units)), candidate] = ENTERING
    for feature, weight in GATES.items():
        kernel[embedding + FEATURES.index(feature), liked] += weight
