"""Noise in training, and what it is worth: the epsilon of a lineage's weights, by a library's accountant.

Every step draws each user by chance, cuts what a user brings to it to one norm (`model.bounding`) and adds Gaussian
noise: the sampled Gaussian mechanism. What was spent is kept as counts, so that it can be added up over versions.

Source: Abadi et al. 2016 (arXiv 1607.00133); accountant of Mironov 2017 in `dp-accounting`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from streams.core.events import Record

_GRID = 8  # chances of being drawn are rounded up to powers of the eighth root of 2, so that counts stay few


class Spent(Record, frozen=True):
    """Steps with the same noise, in units of the bound, and the same chance of a user to be in one."""

    noise: Annotated[float, Meta(gt=0)]
    chance: Annotated[float, Meta(gt=0, le=1)]
    steps: Annotated[int, Meta(ge=1)]


class Privacy(Record, frozen=True):
    """What a version's weights tell of any one user, at most.

    Attributes:
      epsilon: for `delta`, over all that the version and those before it were trained on.
      spent: what it was reckoned from.
    """

    epsilon: Annotated[float, Meta(ge=0)]
    delta: Annotated[float, Meta(gt=0, lt=1)]
    spent: Annotated[tuple[Spent, ...], Meta(max_length=256)] = ()


def chance(users: int, wanted: int) -> float:
    """Return the chance by which each user is drawn for a step, so that about `wanted` of them are, or a few more."""
    exact = min(1.0, wanted / max(users, 1))
    return float(min(1.0, 2.0 ** (math.ceil(_GRID * math.log2(exact)) / _GRID)))


def together(spent: Iterable[Spent]) -> tuple[Spent, ...]:
    """Return what was spent with the steps of equal kind added up."""
    steps: dict[tuple[float, float], int] = {}
    for one in spent:
        steps[one.noise, one.chance] = steps.get((one.noise, one.chance), 0) + one.steps
    return tuple(Spent(noise=noise, chance=drawn, steps=count) for (noise, drawn), count in sorted(steps.items()))


def epsilon(spent: Iterable[Spent], delta: float) -> float:
    """Return epsilon for `delta`, where the neighbour of a set of users lacks one of them.

    Raises:
      ModuleNotFoundError: `dp-accounting` is not installed.
    """
    import dp_accounting

    accountant = dp_accounting.rdp.RdpAccountant()
    for one in spent:
        step = dp_accounting.PoissonSampledDpEvent(one.chance, dp_accounting.GaussianDpEvent(one.noise))
        accountant.compose(step, one.steps)
    return float(accountant.get_epsilon(delta))


def reckoned(spent: Iterable[Spent], delta: float) -> Privacy:
    """Return what stands in a manifest."""
    found = together(spent)
    return Privacy(epsilon=epsilon(found, delta), delta=delta, spent=found)
