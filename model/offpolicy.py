"""What another policy would have earned, from feedback whose propensities are known. Axis: M logged choices."""

from __future__ import annotations

from typing import Any

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
    """Return sum over count, with a 95 % interval over users: a symmetric bootstrap-t with Poisson weights.

    Few choices have large weights, so that a draw without them has an error that is too small, and an estimate that is
    far off. What is drawn is therefore the distance from the estimate by the draw's own standard error.
    Source: Hall 1988, "On symmetric bootstrap confidence intervals"; the standard error of a ratio by the delta method.
    """
    if not len(sums):
        return Interval(float("nan"), float("nan"), float("nan"))
    _, place = np.unique(users, return_inverse=True)
    top, below = (np.asarray(np.bincount(place, one), np.float64) for one in (sums, counts))
    value = float(sums.sum() / counts.sum())
    drawn = np.random.default_rng(seed).poisson(1.0, (draws, len(top)))
    found, error = _with_error(drawn, top, below)
    sure = error > 1e-12 * max(1.0, abs(value))  # a draw of one user alone has no error to measure by
    if not sure.any():
        return Interval(value, value, value)
    reach = float(np.percentile(np.abs(found - value)[sure] / error[sure], 95))
    own = float(_with_error(np.ones((1, len(top))), top, below)[1][0])
    return Interval(value, value - reach * own, value + reach * own)


def _with_error(drawn: NDArray[Any], sums: Reals, counts: Reals) -> tuple[Reals, Reals]:
    """Return the ratio of sums to counts and its standard error under weights [D, U] of users; 0 where none."""
    below = drawn @ counts
    safe = np.where(below > 0, below, 1.0)
    value = drawn @ sums / safe
    squares = drawn @ (sums * sums) - 2.0 * value * (drawn @ (sums * counts)) + value**2 * (drawn @ (counts * counts))
    error = np.where(below > 0, np.sqrt(np.maximum(squares, 0.0)) / safe, 0.0)
    return value, error
