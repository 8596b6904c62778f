"""`freshloop bench rebuild`: what a state is worth that is made anew from the last N events, against a full replay.

The closed loop runs with room for 255 recent events, so that most viewers' whole histories are there when it ends.
Under the version that serves then, `streams.core.rebuilding.rebuild` makes each viewer's state from its last N events
and from all of them. The simulator knows the viewer's taste, so it can tell which videos the viewer would like best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop import ClosedLoop, LoopOptions, drifting, make_learner
from model.metrics import bootstrap_mean
from producers.behaviour import expected_reward
from producers.viewers import Viewers
from streams.config import load_settings
from streams.core.layout import StateShape, row_type
from streams.core.ports import Floats
from streams.core.rebuilding import rebuild
from streams.core.state import UserStates

MOST = 255  # recent events that a state can hold
TOP = 20
_RECENT = ("recent_videos", "recent_numbers", "recent_flags")

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]


def shortened(states: UserStates, rows: Ints, count: int) -> Any:
    """Return the states of rows [B] as they would be with room for `count` recent events only, in rows 0 to B - 1."""
    table, room = states.table, states.shape.recent
    shape = replace(states.shape, recent=count)
    short = np.zeros(len(rows), row_type(shape))
    short["steps"] = table["steps"][rows]
    steps = short["steps"].astype(np.int64)
    for back in range(1, count + 1):
        at = np.flatnonzero(steps >= back)
        age = steps[at] - back
        for name in _RECENT:
            short[name][at, age % count] = table[name][rows[at], age % room]
    profiles = {place: states.profiles[row] for place, row in enumerate(rows.tolist()) if row in states.profiles}
    return SimpleNamespace(table=short, shape=shape, has_profile=states.has_profile[rows], profiles=profiles)


class World:
    """What is left of a run: viewers with their states, the videos that may be shown, and the truth about both.

    Attributes:
      rows: int64 [B], of viewers whose whole history is there and is at least `least` long.
      numbers: int64 [N], videos that are live; slots: int64 [N], their slots.
      values: [B, N], expected reward of each for each viewer; -1 where the viewer has seen it.
    """

    def __init__(self, loop: ClosedLoop, least: int) -> None:
        self.pool, self.states, self.scorer = loop.pool, loop.partition.states, loop.online
        world, catalogue = loop.world, loop.world.catalogue
        users = [f"u{number}" for number in range(loop.options.viewers)]
        users = [user for user in users if user in self.states]
        rows = self.states.rows(users)
        steps = self.states.table["steps"][rows]
        kept = (steps >= least) & (steps <= MOST)
        self.rows, self.viewers = rows[kept], np.array([int(user[1:]) for user in users], np.int64)[kept]
        live = np.flatnonzero(catalogue.live[: catalogue.count])
        slots = self.pool.slots([catalogue.video_id(number) for number in live.tolist()])
        self.numbers, self.slots = live[slots >= 0], slots[slots >= 0]
        at_s = (loop.now - world.start_ms) / 1000
        self.values = _values(world.viewers, self.viewers, at_s, world, self.numbers)
        low = (self.pool.keys[self.slots] & 0xFFFF_FFFF).astype(np.uint32)
        for place, row in enumerate(self.rows.tolist()):
            self.values[place, np.isin(low, self.states.seen_keys(row))] = -1.0

    def scores(self, hidden: Floats) -> Floats:
        """Return logits [B, N] of the live videos, -inf for those that were seen."""
        keys = self.pool.encoded(self.scorer).keys[self.slots]
        found: Floats = self.scorer.queries(hidden) @ keys.T
        return np.where(self.values < 0, -np.inf, found)

    def hidden(self, count: int) -> tuple[Floats, float]:
        """Return states [B, H] made from the last `count` events, and the microseconds that each took."""
        short = shortened(self.states, self.rows, count)
        began = perf_counter()
        found = rebuild(short, np.arange(len(self.rows)), self.pool, self.scorer)
        return found, 1e6 * (perf_counter() - began) / len(self.rows)


def _values(viewers: Viewers, chosen: Ints, at_s: float, world: Any, numbers: Ints) -> Reals:
    catalogue, parameters = world.catalogue, world.parameters.behaviour
    match = viewers.tastes(chosen, at_s) @ catalogue.vectors[numbers].T
    quality, length = catalogue.quality[numbers][None, :], catalogue.log_length[numbers][None, :]
    return np.asarray(expected_reward(match, quality, length, parameters))


def compared(world: World, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Return a row for each N; the last is the full replay."""
    whole, _ = world.hidden(MOST)
    reference = _Ranking(world, whole)
    out = []
    for count in (*[one for one in counts if one < MOST], MOST):
        hidden, each = world.hidden(count)
        ranking = _Ranking(world, hidden)
        distance = np.linalg.norm(hidden - whole, axis=1) / np.linalg.norm(whole, axis=1)
        shared = [len(np.intersect1d(*pair)) / TOP for pair in zip(ranking.top, reference.top, strict=True)]
        lost = bootstrap_mean(reference.reward - ranking.reward, world.viewers)
        row_bytes = row_type(StateShape(world.states.shape.hidden, count, world.states.shape.seen)).itemsize
        out.append({
            "recent_events": "all" if count == MOST else count,
            "distance": round(float(distance.mean()), 4), "same_of_top_20": round(float(np.mean(shared)), 4),
            "best_within_20": round(float((ranking.best <= TOP).mean()), 4),
            "median_rank_of_best": float(np.median(ranking.best)),
            "reward_of_top_20": round(float(ranking.reward.mean()), 5), "reward_lost": round(lost.value, 5),
            "reward_lost_interval": [round(lost.low, 5), round(lost.high, 5)],
            "row_bytes": row_bytes, "rebuild_us": round(each, 1),
        })  # fmt: skip
    return out


class _Ranking:
    """What a viewer would be shown: the first 20, their true value, and the rank of the best video."""

    def __init__(self, world: World, hidden: Floats) -> None:
        scores, values = world.scores(hidden), world.values
        self.top = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
        self.reward: Reals = np.take_along_axis(values, self.top, axis=1).mean(axis=1)
        own = np.take_along_axis(scores, values.argmax(axis=1)[:, None], axis=1)
        self.best = (scores >= own).sum(axis=1)


def run(
    counts: Sequence[int], seconds: float, rate: float, viewers: int, drift: float, seed: int,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Run the loop, then compare; `rate` in events per second."""
    settings = load_settings(arms={"online": "online"}, recent_events=MOST)
    options = LoopOptions(seconds, rate, viewers, seed=seed)
    learner = make_learner(load_settings(arms={"online": "online"}))  # windows as for the default, whatever is kept
    loop = ClosedLoop(settings, options, learner, drifting(drift), ("online",))
    say(f"{seconds:g} simulated seconds with {viewers} viewers")
    loop.run()
    world = World(loop, least=40)
    values = np.sort(world.values, axis=1)
    steps = world.states.table["steps"][world.rows]
    return {
        "rows": compared(world, counts), "viewers": len(world.rows), "videos": len(world.numbers),
        "steps": {"median": float(np.median(steps)), "least": int(steps.min()), "most": int(steps.max())},
        "reward_of_any": round(float(np.mean([one[one >= 0].mean() for one in values])), 5),
        "reward_of_best_20": round(float(values[:, -TOP:].mean()), 5),
        "versions": loop.versions, "drift_rad_per_hour": drift, "seconds": seconds, "seed": seed,
    }  # fmt: skip
