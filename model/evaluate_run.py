"""One evaluation from data to figures: baselines once; for each seed a warm-up, the frozen pass and the online one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.baselines import Baselines
from model.datasets import Dataset
from model.evaluate import Evaluated, Outcome, prequential, seen_before
from model.figures import Targets, difference, figures, predicted, summary
from model.recommender import Recommender, RecommenderConfig

Reals = NDArray[np.float64]
Tell = Callable[[str, int, int], None]


def evaluate(
    data: Dataset,
    config: RecommenderConfig,
    seeds: Sequence[int],
    surfaces: bool,
    baselines: bool,
    counting: bool,
    tell: Tell,
) -> dict[str, Any]:
    """Return the figures of an evaluation; `broken` counts scores that were not finite.

    Args:
      counting: judge a third arm too, whose weights are frozen while its counts and co-occurrence go on.

    Raises:
      ValueError: the streams hold no target.
    """
    if not any(log.target.any() for _, log in data.streams):
        raise ValueError("the streams hold no event that is a target")
    passes: dict[str, dict[str, list[Reals]]] = {"frozen": {}, "online": {}}
    thawed: dict[str, list[Reals]] = {}
    broken = 0
    last: list[Outcome] = []
    views_of: list[list[dict[str, Reals]]] = []  # by seed and stream
    if baselines:
        for arm, kept in passes.items():
            last = _pass(Baselines(data, config.signals.dense_items, arm == "online"), data, f"baselines {arm}", tell)
            broken += _keep(kept, last)
    for seed in seeds:
        recommender = Recommender(config, data, seed, surfaces)
        recommender.warm(data.warm, partial(_tell_of, tell, f"seed {seed}: "))
        if counting:
            last = _pass(recommender.frozen(counting=True), data, f"seed {seed} frozen, counting", tell)
            broken += _keep(thawed, last)
        for arm, model in (("frozen", recommender.frozen()), ("online", recommender)):
            last = _pass(model, data, f"seed {seed} {arm}", tell)
            broken += _keep(passes[arm], last)
        views_of.append([outcome.predictions for outcome in last])
        del recommender, model
        gc.collect()
    views = predicted(data, views_of)
    targets = _targets(data, passes | {"counting": thawed}, last)
    result = summary(targets, [name for name, _ in data.streams])
    if counting:
        result["frozen_counting"] = figures(targets, "counting", "whole")
        result["online_minus_frozen_counting"] = difference(targets, ("online", "whole"), ("counting", "whole"))
    result |= {"auc": views.get("with_surface", views.get("without_surface", {})).get("auc"), "auc_detail": views}
    result["broken"] = broken
    return result


def _pass(model: Evaluated, data: Dataset, what: str, tell: Tell) -> list[Outcome]:
    seen = seen_before(data)
    total = sum(len(log) for _, log in data.streams)
    done = 0
    found = []
    for _, log in data.streams:
        found.append(prequential(model, log, seen, partial(_tell_row, tell, what, done, total)))
        done += len(log)
    return found


def _tell_of(tell: Tell, prefix: str, what: str, done: int, total: int) -> None:
    tell(prefix + what, done, total)


def _tell_row(tell: Tell, what: str, before: int, total: int, row: int, _: int) -> None:
    tell(what, before + row, total)


def _keep(into: dict[str, list[Reals]], outcomes: Sequence[Outcome]) -> int:
    for name in outcomes[0].ranks:
        into.setdefault(name, []).append(np.concatenate([outcome.ranks[name] for outcome in outcomes]))
    return sum(outcome.broken for outcome in outcomes)


def _targets(data: Dataset, passes: Mapping[str, Mapping[str, list[Reals]]], outcomes: Sequence[Outcome]) -> Targets:
    logs = [log for _, log in data.streams]
    pairs = list(zip(logs, outcomes, strict=True))
    return Targets(
        {arm: {name: np.stack(values) for name, values in by.items()} for arm, by in passes.items()},
        np.concatenate([log.user[outcome.rows] for log, outcome in pairs]),
        np.concatenate([log.time_ms[outcome.rows] for log, outcome in pairs]),
        np.concatenate([np.full(len(outcome.rows), place) for place, (_, outcome) in enumerate(pairs)]),
        np.concatenate([outcome.ages for outcome in outcomes]),
        np.concatenate([outcome.exposures for outcome in outcomes]),
    )
