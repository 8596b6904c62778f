"""What another policy would have earned, from feedback whose propensities are known. Axis: M logged choices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.metrics import Interval

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]


def snips(rewards: Reals, logged: Reals, target: Reals, users: Ints, draws: int = 500, seed: int = 0) -> Interval:
    """Return the reward per choice of a target policy, self-normalised, with an interval from drawing users.

    Args:
      logged, target: [M] probabilities with which the logging and the target policy make the logged choice.
    Source: Swaminathan and Joachims 2015, "The self-normalized estimator for counterfactual learning".
    """
    weights = target / logged
    return _ratio(weights * rewards, weights, users, draws, seed)


def doubly_robust(
    rewards: Reals, logged: Reals, target: Reals, modelled: Reals, expected: Reals, users: Ints, draws: int = 500,
    seed: int = 0,
) -> Interval:  # fmt: skip
    """Return the reward per choice of a target policy; right when either the propensities or the model are.

    Args:
      modelled: [M] rewards that a model predicts of the logged choices; expected: [M] of the target policy's choices
        in the same place.
    Source: Dudík, Langford and Li 2011, "Doubly robust policy evaluation and learning".
    """
    each = expected + target / logged * (rewards - modelled)
    return _ratio(each, np.ones(len(each)), users, draws, seed)


def mean_weight(logged: Reals, target: Reals, users: Ints, draws: int = 500, seed: int = 0) -> Interval:
    """Return the mean of target over logged probability.

    It is 1 where the logged probabilities are true and every choice of the target policy can be in the log; less where
    some cannot.
    """
    return _ratio(target / logged, np.ones(len(logged)), users, draws, seed)


def effective(weights: Reals) -> float:
    """Return the effective sample size of weights [M]: equal ones would say as much in so many choices.

    Source: Kish 1965, "Survey sampling".
    """
    total = float((weights**2).sum())
    return float(weights.sum()) ** 2 / total if total else 0.0


def _ratio(sums: Reals, counts: Reals, users: Ints, draws: int, seed: int) -> Interval:
    """Return sum over count, with the 95 % interval of its bootstrap over users (Poisson weights)."""
    if not len(sums):
        return Interval(float("nan"), float("nan"), float("nan"))
    _, place = np.unique(users, return_inverse=True)
    by_user = np.bincount(place, sums), np.bincount(place, counts)
    drawn = np.random.default_rng(seed).poisson(1.0, (draws, len(by_user[0])))
    below = drawn @ by_user[1]
    low, high = np.percentile((drawn @ by_user[0])[below > 0] / below[below > 0], [2.5, 97.5])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))
