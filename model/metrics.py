"""Figures of an evaluation, one function each: ranks or scores in, a number out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]

MISS = np.inf  # the rank of a target that cannot be reached


@dataclass(frozen=True)
class Interval:
    """An estimate with the 95 % interval of its bootstrap."""

    value: float
    low: float
    high: float


def rank_of(scores: NDArray[np.float32], target: int) -> float:
    """Return the rank of `target`: the number of items whose score is at least its own, itself included.

    A tie never helps, so a scorer that gives all N items the same score has rank N. A score that is not finite is a
    miss; items that are taken out have the score -inf.
    """
    own = scores[target]
    return float(np.count_nonzero(scores >= own)) if np.isfinite(own) else MISS


def recall_gains(ranks: Reals, at: int = 20) -> Reals:
    """Return 1 for each rank within `at`; with one target an event, recall and hit rate are the same."""
    return (ranks <= at).astype(np.float64)


def mrr_gains(ranks: Reals, at: int = 20) -> Reals:
    """Return 1/rank for each rank within `at`, else 0. Source: Voorhees 1999, TREC-8 question answering."""
    return np.where(ranks <= at, 1.0 / np.maximum(ranks, 1.0), 0.0)


def ndcg_gains(ranks: Reals, at: int = 10) -> Reals:
    """Return 1/log2(rank + 1) for each rank within `at`, else 0; the ideal gain of a single target is 1.

    Source: Järvelin and Kekäläinen 2002.
    """
    inside = ranks <= at
    return np.where(inside, 1.0 / np.log2(np.where(inside, ranks, 1.0) + 1.0), 0.0)


#: The gains whose means are reported.
GAINS: dict[str, Callable[[Reals], Reals]] = {
    "recall_at_20": recall_gains,
    "mrr_at_20": mrr_gains,
    "ndcg_at_10": ndcg_gains,
}


def auc(scores: Reals, labels: Ints) -> float:
    """Return the probability that a positive scores above a negative, ties counting half; nan with one class only.

    Source: Hanley and McNeil 1982; by mid-ranks, as Mann and Whitney.
    """
    positives = int(np.count_nonzero(labels))
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mid_ranks = np.cumsum(counts) - (counts - 1) / 2.0
    total = float(mid_ranks[place][labels != 0].sum())
    return (total - positives * (positives + 1) / 2.0) / (positives * negatives)


def grouped_auc(scores: Reals, labels: Ints, groups: Ints) -> float:
    """Return the mean AUC within groups (users) that have both classes, weighted by their numbers of events.

    Source: Zhou et al. 2018, Deep Interest Network, KDD.
    """
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    total = weight = 0.0
    for members in np.split(order, cuts):
        own = auc(scores[members], labels[members]) if len(members) > 1 else float("nan")
        if own == own:
            total += own * len(members)
            weight += len(members)
    return total / weight if weight else float("nan")


def bootstrap_mean(values: Reals, users: Ints, draws: int = 1000, seed: int = 0) -> Interval:
    """Return the mean of `values` [T] with a 95 % interval from drawing whole users with replacement.

    Events of one user hang together, so users are what is drawn. Source: Efron and Tibshirani 1993, percentile form,
    with Poisson weights in place of multinomial ones (Chamandy et al. 2012).
    """
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    _, place = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        weights = rng.poisson(1.0, len(sums))
        drawn = float(weights @ counts)
        if drawn:
            means.append(float(weights @ sums) / drawn)
    low, high = np.percentile(means, [2.5, 97.5]) if means else (float("nan"), float("nan"))
    return Interval(float(values.mean()), float(low), float(high))
