"""Items nobody was shown in the warm-up: how well they are found without categories, with them, and with the graph.

A share of the items, by a fixed hash of their ids, is taken out of the warm-up; the stream brings them as new. A
further share is taken out of the older part of the warm-up alone: on its newest part, from which the blend learns what
signals are worth, they are new too, and without them nothing could learn what to make of an item that was never shown.
All systems are given the same warm-up and the same stream.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.datasets import Content, Dataset
from model.evaluate import Evaluated, Outcome, prequential, seen_before
from model.inputs import Request
from model.metrics import GAINS, bootstrap_mean
from model.recommender import Recommender, RecommenderConfig
from streams.core.hashing import bucket
from streams.core.ports import Floats

Bools = NDArray[np.bool_]
Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
Tell = Callable[[str, int, int], None]

SALT = "cold items"
SYSTEMS = ("without", "categories", "categories and graph")
PAIRS = ((SYSTEMS[1], SYSTEMS[0]), (SYSTEMS[2], SYSTEMS[1]), (SYSTEMS[2], SYSTEMS[0]))
ARMS = ("frozen", "online")
ALL, NEW = "all", "new"  # among what a target is ranked


@dataclass(frozen=True)
class ColdOptions:
    """What is judged.

    Attributes:
      share: of the items, new to the stream; rehearsed: of the items, new to the newest part of the warm-up.
      users: share of the users, by a hash of their ids, whose events are used at all.
      events: of the stream, the first; 0 for all.
      epochs: of the GRU's warm-up.
    """

    share: float = 0.2
    rehearsed: float = 0.1
    users: float = 0.25
    events: int = 0
    epochs: int = 1


def _places(names: Iterable[str]) -> Reals:
    """Return where each [N] falls in [0, 1), by a hash of its id."""
    return np.array([bucket(name, SALT) for name in names])


def _some_users(data: Dataset, share: float) -> Dataset:
    if share >= 1.0:
        return data
    kept = _places(data.users.index) < share
    streams = [(name, log.take(kept[log.user])) for name, log in data.streams]
    return replace(data, warm=data.warm.take(kept[data.warm.user]), streams=streams)


def cold_data(data: Dataset, options: ColdOptions, tail: float) -> tuple[Dataset, Bools]:
    """Return the data without cold items in its warm-up, and which items [N] are cold."""
    data = _some_users(data, options.users)
    place, warm = _places(data.items.index), data.warm
    cold = place < options.share
    rehearsed = ~cold & (place < options.share + options.rehearsed)
    older = np.arange(len(warm)) < len(warm) - round(len(warm) * tail)
    kept = ~cold[warm.item] & ~(rehearsed[warm.item] & older)
    streams, left = [], options.events or sum(len(log) for _, log in data.streams)
    for name, log in data.streams:
        if left > 0:
            streams.append((name, log.take(slice(0, left))))
        left -= len(log)
    return replace(data, warm=warm.take(kept), streams=streams), cold


def system(name: str, data: Dataset, config: RecommenderConfig, epochs: int) -> tuple[Dataset, RecommenderConfig]:
    """Return what a system is told of the items, and how it is configured."""
    signals = replace(config.signals, graph=name == SYSTEMS[2])
    sequence = replace(config.sequence, epochs=epochs)
    made = replace(config, signals=signals, sequence=sequence, outcomes=False)
    return (replace(data, content=Content()) if name == SYSTEMS[0] else data), made


def evaluate_cold(
    data: Dataset, config: RecommenderConfig, seeds: Sequence[int], options: ColdOptions, surfaces: bool, tell: Tell
) -> dict[str, Any]:
    """Return figures over targets that are cold items, by arm and system, and paired differences.

    Raises:
      ValueError: the stream holds no cold target.
    """
    data, cold = cold_data(data, options, config.tail)
    ranks = {arm: {group: {name: list[Reals]() for name in SYSTEMS} for group in (ALL, NEW)} for arm in ARMS}
    last: list[Outcome] = []
    broken = 0
    for seed in seeds:
        for name in SYSTEMS:
            told, made = system(name, data, config, options.epochs)
            model = Recommender(made, told, seed, surfaces)
            prefix = f"seed {seed}, {name}: "
            model.warm(told.warm, lambda what, done, total, prefix=prefix: tell(prefix + what, done, total))  # type: ignore[misc]
            for arm, judged in (("frozen", model.frozen()), ("online", model)):
                streams = told if arm == "online" else _cold_alone(told, cold)
                last = _pass(Judged(judged, cold), streams, prefix + arm, tell)
                for group, kept in ranks[arm].items():
                    kept[name].append(np.concatenate([outcome.ranks[group] for outcome in last]))
                broken += sum(outcome.broken for outcome in last)
            del model, judged
            gc.collect()
    return _figures(data, cold, ranks, last) | {
        "broken": broken, "share": options.share, "rehearsed": options.rehearsed, "user_share": options.users,
        "stream_events": sum(len(log) for _, log in data.streams), "epochs": options.epochs,
    }  # fmt: skip


_LOWEST = np.finfo(np.float32).min  # finite, so that what is left out is no broken score


class Judged:
    """A model whose targets are ranked twice: among all items, and among those that are cold."""

    names: tuple[str, ...] = (ALL, NEW)

    def __init__(self, model: Recommender, cold: Bools) -> None:
        self._model, self._others = model, ~cold
        self.prepare, self.predict, self.observe = model.prepare, model.predict, model.observe

    def scores(self, request: Request) -> Mapping[str, Floats]:
        """Return the whole model's scores [N]."""
        every = self._model.scores(request)["whole"]
        new = every.copy()
        new[self._others[: len(new)]] = _LOWEST
        return {ALL: every, NEW: new}


def _cold_alone(data: Dataset, cold: Bools) -> Dataset:
    """Return the data with the targets that are cold; a model that does not learn is the same with them alone."""
    streams = [(name, replace(log, target=log.target & cold[log.item])) for name, log in data.streams]
    return replace(data, streams=streams)


def _pass(model: Evaluated, data: Dataset, what: str, tell: Tell) -> list[Outcome]:
    seen = seen_before(data)
    return [prequential(model, log, seen, partial(tell, what)) for _, log in data.streams]


Ranks = Mapping[str, Mapping[str, Mapping[str, list[Reals]]]]  # by arm, among what, and system: [T] for each seed


def _figures(data: Dataset, cold: Bools, ranks: Ranks, last: Sequence[Outcome]) -> dict[str, Any]:
    pairs = list(zip([log for _, log in data.streams], last, strict=True))
    items = np.concatenate([log.item[outcome.rows] for log, outcome in pairs])
    users = np.concatenate([log.user[outcome.rows] for log, outcome in pairs])
    before = np.concatenate([outcome.exposures for outcome in last])
    is_cold = cold[items]
    if not is_cold.any():
        raise ValueError("the stream holds no target that is a cold item")
    groups = {"cold": is_cold, "first_20": is_cold & (before < 20), "other": ~is_cold}
    every = np.ones(int(is_cold.sum()), bool)
    return {
        "cold_items": int(cold.sum()), "items": len(cold),
        "targets": {name: int(where.sum()) for name, where in groups.items()},
        "frozen": {
            "cold": _group(ranks["frozen"][ALL], users[is_cold], every),
            "cold_among_new": _group(ranks["frozen"][NEW], users[is_cold], every),
        },
        "online": {
            **{name: _group(ranks["online"][ALL], users, where) for name, where in groups.items() if where.any()},
            "cold_among_new": _group(ranks["online"][NEW], users, is_cold),
        },
    }  # fmt: skip


def _group(by: Mapping[str, list[Reals]], users: Ints, where: Bools) -> dict[str, Any]:
    """Return the metrics of each system over some targets, and what each adds to the one before it."""
    gains = {
        name: {metric: gain(np.stack(ranks)).mean(0)[where] for metric, gain in GAINS.items()}
        for name, ranks in by.items()
    }
    some = users[where]
    found = {name: {metric: _mean(one, some) for metric, one in of.items()} for name, of in gains.items()}
    for one, other in PAIRS:
        gaps = {metric: gains[one][metric] - gains[other][metric] for metric in GAINS}
        found[f"{one} - {other}"] = {metric: _mean(gap, some) for metric, gap in gaps.items()}
    return found


def _mean(values: Reals, users: Ints) -> dict[str, Any]:
    got = bootstrap_mean(values, users)
    return {"value": round(got.value, 5), "interval": [round(got.low, 5), round(got.high, 5)]}
