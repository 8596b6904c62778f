"""What profiles bring to viewers who come new to a model that has learned: the closed loop with and without them.

Many viewers, so that half of the run's sessions are first ones. Counted is the expected reward of the first ten videos
of viewers who came in the second half, as a share of the way from random slates to the oracle's. Both runs of a seed
have the same world; in one nobody says anything, in the other a share does.

    python -m benchmarks.new_users --seeds 1,2,3
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from benchmarks import closed_loop
from producers.measures import Measures
from producers.parameters import Parameters, load_parameters
from streams.config import load_settings

ARMS = ("online", "random")
FIRST = 10


class FirstTen:
    """Expected rewards of viewers' first ten videos, by arm, for those who come after a moment."""

    def __init__(self, viewers: int, since_ms: int) -> None:
        self._since_ms = since_ms
        self.came_ms = np.full(viewers, -1, np.int64)
        self.sums, self.counts = np.zeros((3, viewers)), np.zeros((3, viewers), np.int64)

    def add(self, now_ms: int, arm: int, viewers: Any, expected: Any) -> None:
        """Take in one impression of each of viewers [B]."""
        new = viewers[self.came_ms[viewers] < 0]
        self.came_ms[new] = now_ms
        counted = self.counts[arm, viewers] < FIRST
        self.sums[arm, viewers[counted]] += expected[counted]
        self.counts[arm, viewers[counted]] += 1

    def share(self, chosen: Any) -> float:
        """Return where the online arm lies between random (0) and the oracle (1), for chosen viewers who came late."""
        late = chosen & (self.came_ms >= self._since_ms)
        online, random, oracle = self.sums[:, late].sum(axis=1) / np.maximum(self.counts[:, late].sum(axis=1), 1)
        return float((online - random) / (oracle - random))


def run(seconds: float, rate: float, viewers: int, seed: int, parameters: Parameters, net: dict[str, Any]) -> Any:
    """Run one closed loop; return its first tens, and the loop."""
    settings = load_settings(arms={arm: arm for arm in ARMS})
    learner = closed_loop.make_learner(settings, **net)
    options = closed_loop.LoopOptions(seconds, rate, viewers, seed=seed)
    loop = closed_loop.ClosedLoop(settings, options, learner, parameters, ARMS)
    first = FirstTen(viewers, loop.now + round(500 * seconds))
    watched(loop.world.measures, first)
    loop.run()
    return first, loop


def watched(measures: Measures, first: FirstTen) -> None:
    """Let `first` see what is measured."""
    add: Callable[..., None] = measures.add

    def both(now_ms: int, arm: int, viewers: Any, reward: Any, expected: Any, versions: Any = ()) -> None:
        first.add(now_ms, arm, viewers, expected)
        add(now_ms, arm, viewers, reward, expected, versions)

    measures.add = both  # type: ignore[method-assign]


def main() -> None:
    """Run both forms of each seed; a line of JSON each."""
    from model.trainer_cli import quiet_tensorflow

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--viewers", type=int, default=6000)
    parser.add_argument("--profiled", type=float, default=1.0, help="share of the viewers with a profile")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--net", default="{}", help="JSON over NetOptions")
    given = parser.parse_args()
    quiet_tensorflow(threads=1)
    base = load_parameters()
    for seed in map(int, given.seeds.split(",")):
        found: dict[str, Any] = {"seed": seed}
        told = np.zeros(given.viewers, bool)
        for name, share in (("with", given.profiled), ("without", 0.0)):
            parameters = replace(base, viewers=replace(base.viewers, profiled=share))
            net = json.loads(given.net)
            first, loop = run(given.seconds, given.rate, given.viewers, seed, parameters, net)
            told |= np.array([bool(words) for words in loop.world.profiles])
            found[name] = {"told": round(first.share(told), 4), "others": round(first.share(~told), 4)}
            found["new_viewers"] = int((told & (first.came_ms >= loop.world.start_ms + 500 * given.seconds)).sum())
            found[name] |= {"versions": loop.versions, "rows": len(loop.learner.net.profiles.table)}
        found["gain"] = round(found["with"]["told"] - found["without"]["told"], 4)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore", invalid="ignore", divide="ignore")
    main()
