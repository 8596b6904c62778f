"""The freshness ablation in the simulator: arms that see one learner, or their users' states, only at boundaries.

All arms go through the same step with the same viewers and luck, and one learner learns from the feedback of all. A
period begins with the run. Weights behind a boundary start as the frozen version, states as nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop import ClosedLoop, LoopOptions, drifting, make_learner
from model.delays import Boundary
from model.train import Learner
from producers.parameters import Parameters
from streams.config import Settings, load_settings
from streams.core.columns import Columns
from streams.core.effects import Effects
from streams.core.ports import Floats, Scorer
from streams.core.rebuilding import rebuild
from streams.core.slates import Slated
from streams.core.state import UserStates
from streams.core.step import Partition, Parts

SECOND, MINUTE = 1_000, 60_000
STATES = {"state_10s": 10 * SECOND, "state_1min": MINUTE, "state_10min": 10 * MINUTE}
WEIGHTS = {"weights_10s": 10 * SECOND, "weights_1min": MINUTE, "weights_10min": 10 * MINUTE}
NEVER = "frozen"  # the arm whose weights stay
LOOP_ARMS = ("online", *STATES, *WEIGHTS, NEVER, "random")
_NAMES = {"online": "fresh_at once", NEVER: "weights_never", "random": "random_at once"}

Ints = NDArray[np.int64]


class StatesThen:
    """Users' states as they were at a boundary, under whatever version serves.

    Only the recent events are kept of then; a hidden state is rebuilt from them, as the stream does after a swap.
    """

    def __init__(self) -> None:
        self.table: NDArray[Any] = np.zeros(0, [("steps", "u4")])
        self._version = np.zeros(0, np.int64)
        self._hidden: Floats = np.zeros((0, 0), np.float32)

    def take(self, states: UserStates) -> None:
        """Remember the states as they are now."""
        self.table, self.shape = states.table.copy(), states.shape
        self.has_profile, self.profiles = states.has_profile.copy(), dict(states.profiles)
        self._version = np.full(len(self.table), -1, np.int64)
        self._hidden = np.zeros((len(self.table), states.shape.hidden), np.float32)

    def hidden(self, rows: Ints, size: int, make: Callable[[Any, Ints], Floats], version: int) -> Floats:
        """Return hidden states [B, H] of rows [B] under a version; zeros for those who were not there then.

        Args:
          make: rebuilds the states of rows under that version.
        """
        found: Floats = np.zeros((len(rows), size), np.float32)
        known = rows < len(self.table)
        mine = rows[known]
        stale = np.unique(mine[self._version[mine] != version])
        if len(stale):
            self._hidden[stale] = make(self, stale)
            self._version[stale] = version
        if len(mine):
            found[known] = self._hidden[mine]
        return found


class LatePartition(Partition):
    """Ranks the slates of some arms from states of a boundary; states themselves advance as ever."""

    late: dict[str, StatesThen]

    def _finish(self, batch: Columns, slated: Slated, parts: Parts, effects: Effects) -> None:
        for arm, members, scorer in parts:
            if arm in self.late:
                chosen = batch.slated if members is None else batch.slated & members
                places = np.flatnonzero(chosen)
                make = self._maker(scorer)
                size = self.config.shape.hidden
                slated.hidden[places] = self.late[arm].hidden(batch.rows[places], size, make, scorer.version)
        super()._finish(batch, slated, parts, effects)

    def _maker(self, scorer: Scorer) -> Callable[[Any, Ints], Floats]:
        return lambda then, rows: rebuild(then, rows, self.pool, scorer)


class FreshnessLoop(ClosedLoop):
    """The closed loop with arms of different freshness."""

    make_partition = LatePartition
    partition: LatePartition

    def __init__(self, settings: Settings, options: LoopOptions, learner: Learner, parameters: Parameters) -> None:
        super().__init__(settings, options, learner, parameters, LOOP_ARMS)
        self._late = {arm: (StatesThen(), Boundary(every, 0)) for arm, every in STATES.items()}
        self._weights = {arm: Boundary(every, 0) for arm, every in WEIGHTS.items()}
        self._held: dict[str, Scorer] = {}
        self.partition.late = {arm: then for arm, (then, _) in self._late.items()}

    def scorer(self, arm: str) -> Scorer:
        """Return what serves an arm."""
        if arm in self._weights and self.frozen is not None:
            return self._held.get(arm, self.frozen)
        return super().scorer(arm)

    def _apply(self, events: list[Any]) -> None:
        since = self.now - self.world.start_ms
        for then, boundary in self._late.values():
            if boundary.passed(since):
                then.take(self.partition.states)
        for arm, boundary in self._weights.items():
            if boundary.passed(since):
                self._held[arm] = self.online
        super()._apply(events)

    def kept(self) -> set[int]:
        """Return the versions that serve some arm."""
        return super().kept() | {one.version for one in self._held.values()}


def run_seed(seconds: float, rate: float, viewers: int, drift: float, seed: int) -> dict[str, Any]:
    """Return a row for each arm after one run; `rate` in events per second of each arm."""
    settings = load_settings(arms={arm: arm if arm in ("frozen", "random") else "online" for arm in LOOP_ARMS})
    options = LoopOptions(seconds, rate * len(LOOP_ARMS), viewers, seed=seed)
    learner = make_learner(settings)
    loop = FreshnessLoop(settings, options, learner, drifting(drift))
    found = loop.run()
    rows = []
    for arm in LOOP_ARMS:
        lead = found["lead"].get(f"online-{arm}", {"share": None, "interval": None})
        axis, _, every = _NAMES.get(arm, re.sub(r"(?<=\d)(s|min)$", r" \1", arm)).partition("_")
        rows.append({
            "axis": axis, "every": every,
            "reward_share": found["reward_share"][arm], "interval": found["reward_share_interval"][arm],
            "lost": lead["share"], "lost_interval": lead["interval"],
        })  # fmt: skip
    return {
        "seed": seed, "seconds": seconds, "viewers": viewers, "drift_rad_per_hour": drift, "versions": loop.versions,
        "measured_impressions": found["measured_impressions"]["online"], "rows": rows,
    }  # fmt: skip
