"""What version 0 knows before anything was learned: a viewer likes what resembles the videos it watched through.

Random recurrent weights need tens of thousands of examples before they remember anything of use. These start as two
moving averages of video vectors: one gated by the outcome (more of a video enters that was watched or liked), one of
everything that was shown. Their difference is the user vector, and the interaction is a similarity. The gates are slow,
so that an average holds some thirty videos, and the personal part is small beside what is learned of a video's quality,
as it is while little is known of a viewer. Every number here is a start, and all of it is trained.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig
from model.modalities import rows_of
from streams.core.behaviour import FEATURES
from streams.core.ports import Floats

Units = NDArray[np.int64]

NOISE = 0.2  # of the random weights that stay around the prior, so that units can part
KEPT = 3.5  # update bias: 1 - sigmoid(3.5) = 3 % of a step enters the average of everything shown
KEPT_GATED = 4.0  # 2 % of an ignored video enters the gated average, 12 % of one that was seen twice and liked
GATES = {"watch_ratio": -1.5, "is_like": -0.75}
SIMILARITY = 1.0  # gain of the similarity of user and video
CONTENT = 2.0  # gain from the rows of author and tags to the video vector
MUSIC = 0.3  # of that gain: music says less
MEDIA = 1.0  # gain from each content vector, which is of length 1, to the video vector


def with_prior(weights: dict[str, Floats], config: ModelConfig) -> None:
    """Turn randomly drawn weights into the prior, in place. Shapes are those of `model.weights.specs`."""
    size = min(config.embedding_size, config.recurrent_size // 2)
    liked, shown = np.arange(size), size + np.arange(size)
    _content(weights["video.kernel"], config)
    if config.media:
        _media(weights["media.kernel"], config)
    _averages(weights, config, liked, shown)
    users = weights["user.kernel"]
    users *= NOISE
    if config.memory:
        every = np.arange(config.embedding_size)
        users[config.recurrent_size + every, every] += 1.0
    else:
        users[liked, liked] += 1.0
        users[shown, liked] -= 1.0
    if "head.interaction" in weights:
        weights["head.interaction"] *= NOISE
        read = np.arange(config.embedding_size) if config.memory else liked
        weights["head.interaction"][read, read] += SIMILARITY


def _content(kernel: Floats, config: ModelConfig) -> None:
    """Map author, tags and music by one orthonormal map, so that an author can start where its tags are."""
    width = config.category_size
    shared = _orthonormal(kernel[:width])
    kernel *= NOISE
    for block, gain in enumerate((CONTENT, CONTENT, CONTENT * MUSIC)):
        kernel[block * width : (block + 1) * width] += gain * shared


def _media(kernel: Floats, config: ModelConfig) -> None:
    """Map each content vector by an orthonormal map: what looks alike begins alike. Absence says nothing yet."""
    for columns in rows_of(config.media).values():
        kernel[columns[:-1]] = MEDIA * _orthonormal(kernel[columns[:-1]])
        kernel[columns[-1]] = 0.0


def _orthonormal(random: Floats) -> Floats:
    """Return the matrix [M, N] of a random one, with orthonormal rows or columns, whichever are fewer."""
    wide = random.shape[0] < random.shape[1]
    q, _ = np.linalg.qr(random.T if wide else random)
    return (q.T if wide else q).astype(np.float32)


def _averages(weights: dict[str, Floats], config: ModelConfig, liked: Units, shown: Units) -> None:
    """Make the units `liked` and `shown` of the GRU moving averages of the video vector."""
    hidden, embedding = config.recurrent_size, config.embedding_size
    kernel, bias = weights["gru.kernel"], weights["gru.bias"]
    kernel *= NOISE
    weights["gru.recurrent"] *= NOISE
    for units, kept in ((liked, KEPT_GATED), (shown, KEPT)):
        bias[0, units] = kept
        kernel[np.arange(len(units)), 2 * hidden + units] += 1.0
    for feature, change in GATES.items():
        kernel[embedding + FEATURES.index(feature), liked] += change
