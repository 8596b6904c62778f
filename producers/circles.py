"""Whom viewers know and follow from the start: friends share taste, and one follows authors of one's topics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from producers.catalogue import Floats
from producers.parameters import SocialParameters

Ints = NDArray[np.int64]


class Circles:
    """Friends and followed authors of V viewers, a pure function of the seed.

    Attributes:
      friends: int64 [V, F], viewers by number; follows: int64 [V, A], authors by number; the nearest first.
    """

    def __init__(self, parameters: SocialParameters, tastes: Floats, authors: Floats, seed: int) -> None:
        rng = np.random.default_rng([seed, 5])
        self.friends = _nearest(rng, tastes, tastes, parameters.met, parameters.friends, itself=False)
        self.follows = _nearest(rng, tastes, authors, parameters.met, parameters.follows)


def _nearest(
    rng: np.random.Generator, tastes: Floats, others: Floats, met: int, wanted: int, itself: bool = True
) -> Ints:
    """Return of some others met by chance those nearest to each taste, [V, wanted] or fewer, each once."""
    count, known = len(tastes), len(others)
    wanted = min(wanted, met, known if itself else known - 1)
    if wanted <= 0:
        return np.zeros((count, 0), np.int64)
    some = rng.integers(0, known, (count, met))
    some[:, :wanted] = (np.arange(count)[:, None] + 1 + np.arange(wanted)) % known  # so many are different in any case
    near = np.einsum("vd,vmd->vm", tastes, others[some])
    order = np.sort(some, axis=1)
    twice = np.zeros(some.shape, bool)
    place = np.argsort(some, axis=1, kind="stable")
    np.put_along_axis(twice, place[:, 1:], order[:, 1:] == order[:, :-1], axis=1)
    near[twice] = -np.inf
    if not itself:
        near[some == np.arange(count)[:, None]] = -np.inf
    best = np.argsort(-near, axis=1, kind="stable")[:, :wanted]
    return np.take_along_axis(some, best, axis=1)
