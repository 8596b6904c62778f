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
from model.evaluate import Outcome, prequential, seen_before
from model.metrics import GAINS, bootstrap_mean
from model.recommender import Recommender, RecommenderConfig
from streams.core.hashing import bucket

Bools = NDArray[np.bool_]
Reals = NDArray[np.float64]
Tell = Callable[[str, int, int], None]

SALT = "cold items"
SYSTEMS = ("without", "categories", "categories and graph")
ARMS = ("frozen", "online")


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
    ranks: dict[str, dict[str, list[Reals]]] = {arm: {name: [] for name in SYSTEMS} for arm in ARMS}
    last: list[Outcome] = []
    broken = 0
    for seed in seeds:
        for name in SYSTEMS:
            told, made = system(name, data, config, options.epochs)
            model = Recommender(made, told, seed, surfaces)
            prefix = f"seed {seed}, {name}: "
            model.warm(told.warm, lambda what, done, total, prefix=prefix: tell(prefix + what, done, total))  # type: ignore[misc]
            for arm, judged in (("frozen", model.frozen()), ("online", model)):
                last = _pass(judged, told, prefix + arm, tell)
                ranks[arm][name].append(np.concatenate([outcome.ranks["whole"] for outcome in last]))
                broken += sum(outcome.broken for outcome in last)
            del model, judged
            gc.collect()
    return _figures(data, cold, {arm: _stacked(by) for arm, by in ranks.items()}, last) | {
        "broken": broken, "share": options.share, "rehearsed": options.rehearsed, "user_share": options.users,
        "stream_events": sum(len(log) for _, log in data.streams), "epochs": options.epochs,
    }  # fmt: skip


def _pass(model: Recommender, data: Dataset, what: str, tell: Tell) -> list[Outcome]:
    seen = seen_before(data)
    return [prequential(model, log, seen, partial(tell, what)) for _, log in data.streams]


def _stacked(by: Mapping[str, list[Reals]]) -> dict[str, Reals]:
    return {name: np.stack(values) for name, values in by.items()}


def _figures(
    data: Dataset, cold: Bools, ranks: Mapping[str, Mapping[str, Reals]], last: Sequence[Outcome]
) -> dict[str, Any]:
    pairs = list(zip([log for _, log in data.streams], last, strict=True))
    items = np.concatenate([log.item[outcome.rows] for log, outcome in pairs])
    users = np.concatenate([log.user[outcome.rows] for log, outcome in pairs])
    before = np.concatenate([outcome.exposures for outcome in last])
    is_cold = cold[items]
    if not is_cold.any():
        raise ValueError("the stream holds no target that is a cold item")
    groups = {
        "cold": is_cold, "first_20": is_cold & (before < 20), "other": ~is_cold,
    }  # fmt: skip
    return {
        "cold_items": int(cold.sum()), "items": len(cold),
        "targets": {name: int(where.sum()) for name, where in groups.items()},
        **{
            name: {arm: _group(by, users, where) for arm, by in ranks.items()}
            for name, where in groups.items() if where.any()
        },
    }  # fmt: skip


def _group(by: Mapping[str, Reals], users: NDArray[np.int64], where: Bools) -> dict[str, Any]:
    """Return the metrics of each system over some targets, and what each adds to the one before it."""
    found: dict[str, Any] = {}
    for name, ranks in by.items():
        found[name] = {metric: _mean(gain(ranks).mean(0)[where], users[where]) for metric, gain in GAINS.items()}
    for one, other in ((SYSTEMS[1], SYSTEMS[0]), (SYSTEMS[2], SYSTEMS[1]), (SYSTEMS[2], SYSTEMS[0])):
        gaps = {metric: gain(by[one]).mean(0) - gain(by[other]).mean(0) for metric, gain in GAINS.items()}
        found[f"{one} - {other}"] = {metric: _mean(gap[where], users[where]) for metric, gap in gaps.items()}
    return found


def _mean(values: Reals, users: NDArray[np.int64]) -> dict[str, Any]:
    got = bootstrap_mean(values, users)
    return {"value": round(got.value, 5), "interval": [round(got.low, 5), round(got.high, 5)]}
