"""What a viewer does with a video: pure arithmetic from taste, quality and given uniforms.

A video holds a viewer for an exponentially distributed time whose mean grows with match and quality; a reaction needs
attention for a part of the video. So the expected reward, min(watch ratio, 1) + like, has a closed form, and an oracle
can rank by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.parameters import BehaviourParameters
from streams.core.hashing import draws, mix64, uniforms

Floats = NDArray[np.floating[Any]]  # float64, or float32 where an oracle ranks thousands of videos
Bools = NDArray[np.bool_]

UNIFORMS = 8  # one per decision below; the names are their columns
_WATCH, _LIKE, _SHARE, _COMMENT, _FOLLOW, _HIDE, _TOGETHER, _BUY = range(UNIFORMS)


class Stream(IntEnum):
    """What random numbers are for; those of different streams have nothing to do with each other."""

    EXPOSURES = 0  # by viewer and video
    SESSIONS = 1  # by session
    STEPS = 2  # by viewer and step


@dataclass(frozen=True)
class Outcomes:
    """What happened in B exposures; every array is [B].

    Attributes:
      watch_ratio: playback over duration, unitless in [0, loops].
      liked, shared, commented, followed: reactions.
      skipped: swiped away; hidden: and asked not to be shown it again.
      together: reactions travel within the outcome instead of after it.
      bought: where it is a product.
    """

    watch_ratio: Floats
    liked: Bools
    shared: Bools
    commented: Bools
    followed: Bools
    skipped: Bools
    hidden: Bools
    together: Bools
    bought: Bools

    @property
    def reward(self) -> Floats:
        """min(watch ratio, 1) + like, in [0, 2]."""
        return np.minimum(self.watch_ratio, 1.0) + self.liked


def exposure_uniforms(seed: int, viewers: NDArray[np.int64], videos: NDArray[np.int64]) -> Floats:
    """Return uniforms [B, 8], a pure function of seed, viewer number [B] and video number [B].

    The same viewer meets the same video with the same luck in every arm, whenever it happens.
    """
    return pair_uniforms(seed, Stream.EXPOSURES, viewers, videos, UNIFORMS)


def pair_uniforms(seed: int, stream: Stream, first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> Floats:
    """Return uniforms [B, count], a pure function of seed, stream and a pair of numbers below 2**32, [B] each."""
    base = mix64(np.array([seed * len(Stream) + stream], np.int64).astype(np.uint64))[0]
    pairs = (first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64)
    return uniforms(draws(mix64(pairs ^ base), count))


def hazard(match: Floats, quality: Floats, log_length: Floats, p: BehaviourParameters) -> Floats:
    """Return the rate at which viewers leave, per length of the video; inputs broadcast.

    Args:
      match: taste · video, in [-1, 1].
      quality: of the video, standard normal.
      log_length: logarithm of the duration over the median duration.
    """
    held = p.watch_bias + p.watch_match * match + p.watch_quality * quality - p.watch_duration * log_length
    return np.asarray(np.exp(-held))


def like_chance(match: Floats, quality: Floats, p: BehaviourParameters) -> Floats:
    """Return the chance of a like, given attention; inputs broadcast."""
    return np.asarray(1.0 / (1.0 + np.exp(-(p.like_bias + p.like_match * match + p.like_quality * quality))))


def expected_reward(match: Floats, quality: Floats, log_length: Floats, p: BehaviourParameters) -> Floats:
    """Return the mean of min(watch ratio, 1) + like, in closed form; arguments as in `hazard`."""
    rate = hazard(match, quality, log_length, p)
    watched = -np.expm1(-rate) / rate
    return np.asarray(watched + np.exp(-p.attention * rate) * like_chance(match, quality, p))


def behave(match: Floats, quality: Floats, log_length: Floats, u: Floats, p: BehaviourParameters) -> Outcomes:
    """Return what happens in B exposures.

    Args:
      match, quality, log_length: [B], as in `hazard`.
      u: [B, 8] uniforms in [0, 1).
    """
    ratio = -np.log1p(-u[:, _WATCH]) / hazard(match, quality, log_length, p)
    tendency = like_chance(match, quality, p)
    attentive = ratio >= p.attention
    liked = attentive & (u[:, _LIKE] < tendency)
    skipped = ratio < p.skip_below
    return Outcomes(
        watch_ratio=np.minimum(ratio, p.loops),
        liked=liked,
        shared=attentive & (u[:, _SHARE] < p.share * tendency),
        commented=attentive & (u[:, _COMMENT] < p.comment * tendency),
        followed=attentive & (u[:, _FOLLOW] < p.follow * tendency),
        skipped=skipped,
        hidden=skipped & (u[:, _HIDE] < p.hide * (1.0 - tendency)),
        together=u[:, _TOGETHER] < p.together,
        bought=attentive & (u[:, _BUY] < p.buy * tendency),
    )
