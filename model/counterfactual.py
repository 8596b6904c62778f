"""What a policy that never ran would have earned, estimated from the explored choices of a log.

A policy is judged by what one position of its slates earns, each as likely as the others: its chance of a video is one
over the slate's length where the slate has it, and 0 elsewhere. A version may only be judged by choices that came after
all that it learned from (`Choices.after`): it would know their labels, and choose what happened to be liked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log

import numpy as np

from model.choices import Choices, Reals
from model.metrics import Interval
from model.offpolicy import doubly_robust, effective, mean_weight, snips
from streams.core.ports import Floats, Scorer

Scores = Callable[[Choices, slice], Floats]  # what orders the videos: [R, N], as logits


@dataclass(frozen=True)
class Target:
    """A policy: what orders the videos, and how many are taken.

    Attributes:
      size, minimum: most positions, and how many are filled although below the threshold.
      threshold: a probability; None takes `size` videos in any case.
    """

    scores: Scores
    size: int
    minimum: int = 0
    threshold: float | None = None

    def chances(self, choices: Choices, some: slice) -> Reals:
        """Return the policy's chance of each video, [R, N]; rows sum to 1 unless nothing is eligible."""
        scores = np.where(choices.eligible(some), self.scores(choices, some), -np.inf)
        return slate_chances(scores, self.size, self.minimum, self.threshold)


def slate_chances(scores: Floats, size: int, minimum: int, threshold: float | None) -> Reals:
    """Return the chance of each video at a position of the slate that scores [R, N] make; -inf is never in it."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :size]
    best = np.take_along_axis(scores, order, axis=1)
    taken = best > -np.inf
    if threshold is not None:
        p = min(max(threshold, 1e-6), 1.0 - 1e-6)
        taken &= (best > log(p / (1.0 - p))) | (np.arange(order.shape[1]) < minimum)
    length = taken.sum(axis=1, keepdims=True)
    found = np.zeros(scores.shape)
    np.put_along_axis(found, order, taken / np.maximum(length, 1), axis=1)
    return found


def uniform(choices: Choices, some: slice) -> Floats:
    """Order nothing: with a slate as long as the shelf every eligible video is as likely as any other."""
    return np.zeros((some.stop - some.start, len(choices.shelf.videos)), np.float32)


def by_popularity(half_life_ms: float) -> Scores:
    """Return the order of the popularity baseline: decayed sums of labels that were known at the time."""

    def scores(choices: Choices, some: slice) -> Floats:
        likes, first = choices.likes, choices.at_ms[0]
        found = np.zeros((some.stop - some.start, len(choices.shelf.videos)))
        grown = likes[:, 3] * np.exp2((likes[:, 1] - first) / half_life_ms)  # one decay for all, so it changes no order
        ends = np.searchsorted(likes[:, 0], choices.at_ms[some])  # a label of the same moment comes later
        places, sums = likes[:, 2].astype(np.int64), np.zeros(found.shape[1])
        for row, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            np.add.at(sums, places[begin:end], grown[begin:end])
            found[row] = sums
        return found

    return scores


class ByVersion:
    """The order of a version of the model."""

    def __init__(self, scorer: Scorer, choices: Choices) -> None:
        self._scorer = scorer
        self._vectors, self._keys = scorer.encode(choices.shelf.videos, choices.shelf.contents)

    def __call__(self, choices: Choices, some: slice) -> Floats:
        """Return logits [R, N]."""
        queries = self._scorer.queries(choices.hidden(some, self._scorer, self._vectors))
        logits: Floats = queries @ self._keys.T
        return logits


@dataclass(frozen=True)
class Judged:
    """What a policy would have earned per position, with 95 % intervals over users.

    Attributes:
      robust: doubly robust; nan where no model of the reward is given.
      weight: mean weight of the choices; 1 where the propensities are true and the log can show all that the policy
        chooses. An interval without 1 says that the estimates are not to be trusted.
      effective: how many choices of the policy itself would say as much.
    """

    choices: int
    effective: float
    weight: Interval
    snips: Interval
    robust: Interval


def judge(choices: Choices, target: Target, reward: Scores | None = None, seed: int = 0) -> Judged:
    """Estimate what a policy would have earned.

    Args:
      reward: logits of the label, a model of it.
    """
    count = len(choices)
    chance, modelled, expected = np.zeros(count), np.zeros(count), np.zeros(count)
    for some, chances in rows(choices, target):
        video = choices.video[some]
        each = np.arange(len(video)), video
        chance[some] = chances[each]
        if reward is not None:
            predicted = 1.0 / (1.0 + np.exp(-np.clip(reward(choices, some), -30.0, 30.0)))
            modelled[some], expected[some] = predicted[each], (chances * predicted).sum(axis=1)
    given = choices.label, choices.chance, chance
    unknown = Interval(float("nan"), float("nan"), float("nan"))
    return Judged(
        count, effective(chance / choices.chance), mean_weight(choices.chance, chance, choices.user, seed=seed),
        snips(*given, choices.user, seed=seed) if chance.any() else unknown,
        doubly_robust(*given, modelled, expected, choices.user, seed=seed) if reward is not None else unknown,
    )  # fmt: skip


def rows(choices: Choices, target: Target) -> Iterator[tuple[slice, Reals]]:
    """Yield the policy's chances [R, N] of some choices after the others."""
    for some in choices.chunks():
        yield some, target.chances(choices, some)
