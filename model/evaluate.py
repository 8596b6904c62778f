"""Prequential evaluation: rank the whole catalogue, record the rank, and only then let the event change anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.datasets import Dataset, Log
from model.inputs import Exposure, Request
from model.inputs import exposures as exposures_of
from model.metrics import MISS, rank_of
from streams.core.ports import Floats

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 256  # targets; users of the coming chunk are named to the model, so that it can prepare their states


class Evaluated(Protocol):
    """What is judged. `names` are the variants whose scores it gives side by side."""

    names: tuple[str, ...]

    def prepare(self, users: Iterable[int]) -> None:
        """Get ready for users who are about to come; no score may depend on it."""
        ...

    def scores(self, request: Request) -> Mapping[str, Floats]:
        """Return scores [N] of the items known now, by variant."""
        ...

    def predict(self, event: Exposure) -> Mapping[str, float]:
        """Return logits, by name, of a positive outcome given that the item is shown; the outcome is not looked at."""
        ...

    def observe(self, event: Exposure) -> None:
        """Take in what happened after the request."""
        ...


@dataclass(frozen=True)
class Outcome:
    """Ranks of one pass over one stream.

    Attributes:
      ranks: by variant [T], MISS where the target could not be reached.
      rows: int64 [T], rows of the targets in the log.
      ages: int64 [T], events that the user had before; videos: int64 [T], exposures that the item had had before.
      predictions: by name [M], logits of a positive outcome for every event, made before it was learned.
      broken: scores that were not finite; the run fails when there are any.
    """

    ranks: dict[str, Reals]
    rows: Ints
    ages: Ints
    exposures: Ints
    broken: int
    predictions: dict[str, Reals]


class Seen:
    """What each user was shown, kept by the judge and not by the judged."""

    def __init__(self, warm: Log, filtered: bool) -> None:
        self.filtered = filtered
        self.items: dict[int, set[int]] = defaultdict(set)
        self.ages: dict[int, int] = defaultdict(int)
        self.exposures: dict[int, int] = defaultdict(int)
        for user, item in zip(warm.user.tolist(), warm.item.tolist(), strict=True):
            self.add(user, item)

    def add(self, user: int, item: int) -> None:
        """Remember an exposure."""
        self.items[user].add(item)
        self.ages[user] += 1
        self.exposures[item] += 1

    def rank(self, scores: Floats, user: int, item: int) -> tuple[float, bool]:
        """Return the rank of the target among what the user has not been shown, and whether its score is broken."""
        shown = self.items[user] if self.filtered else ()
        if item >= len(scores) or item in shown:
            return MISS, False
        if not np.isfinite(scores[item]):
            return MISS, True
        if shown:
            scores = scores.copy()
            scores[[one for one in shown if one < len(scores)]] = -np.inf
        return rank_of(scores, item), bool(np.isnan(scores).any())


def prequential(model: Evaluated, log: Log, seen: Seen, tell: Callable[[int, int], None] = lambda *_: None) -> Outcome:
    """Run a model over a stream, and return the ranks of its targets. `seen` is advanced."""
    ranks: dict[str, list[float]] = {name: [] for name in model.names}
    rows: list[int] = []
    ages: list[int] = []
    exposures: list[int] = []
    broken = 0
    cuts = _chunks(log)
    predictions: dict[str, list[float]] = defaultdict(list)
    for row, event in enumerate(exposures_of(log)):
        if row in cuts:
            model.prepare(log.user[row : cuts[row]].tolist())
            tell(row, len(log))
        if event.target:
            for name, scores in model.scores(event.request).items():
                rank, bad = seen.rank(scores, event.user, event.item)
                ranks[name].append(rank)
                broken += bad
            rows.append(row)
            ages.append(seen.ages[event.user])
            exposures.append(seen.exposures[event.item])
        for name, logit in model.predict(event).items():
            predictions[name].append(logit)
            broken += not np.isfinite(logit)
        model.observe(event)
        seen.add(event.user, event.item)
    tell(len(log), len(log))
    return Outcome(
        {name: np.array(values) for name, values in ranks.items()}, np.array(rows, np.int64),
        np.array(ages, np.int64), np.array(exposures, np.int64), broken,
        {name: np.array(values) for name, values in predictions.items()},
    )  # fmt: skip


def _chunks(log: Log) -> dict[int, int]:
    """Return the first row of each chunk of targets, and the row after its last."""
    ends = np.flatnonzero(log.target)[CHUNK - 1 :: CHUNK] + 1
    starts = np.concatenate([[0], ends]).astype(np.int64)
    stops = np.concatenate([ends, [len(log)]]).astype(np.int64)
    return {start: stop for start, stop in zip(starts.tolist(), stops.tolist(), strict=True) if start < stop}


def seen_before(data: Dataset) -> Seen:
    """Return what users were shown before the first stream."""
    return Seen(data.warm, data.filter_seen)
