"""Is an A/B fair whose arms learn from shared feedback? The whole loop in simulated time, with two learners.

Viewers are put into arms by buckets, and the difference of the arms is estimated as an experiment does it: *shared*,
the models of both arms learn from the feedback of all; *own*, each from that of its arm. The truth is what is asked
for: the reward where all viewers have arm B, less that where all have arm A. Each experiment runs twice with its arms
changed over, so that which viewers fell into which arm does not count.

    python -m benchmarks.lineage --seeds 1,2,3
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.closed_loop import LEARNING_MS, ClosedLoop, LoopOptions, make_learner
from model.config import model_config
from model.metrics import Interval
from model.serving import NumpyScorer
from model.train import Learner
from producers.parameters import load_parameters
from producers.simulation import ONLINE
from streams.config import Settings, load_settings
from streams.configured import step_config
from streams.core.effects import Effects
from streams.core.events import Event, Feedback
from streams.core.hashing import bucket
from streams.core.ports import Floats, Scorer
from streams.core.step import Partition

WAYS = {"shared": (0.5, True), "own": (0.5, False), "a": (0.0, True), "b": (1.0, True)}


class Lineage:
    """One arm's learner and what it serves. Versions of the two arms have numbers of their own."""

    def __init__(self, settings: Settings, learner: Learner, side: int, first: Scorer) -> None:
        self.settings, self.learner, self.side = settings, learner, side
        self.online = first
        self._next_ms = 0
        self._serves: list[tuple[int, NumpyScorer]] = []
        self.made = 0

    def learn(self, now_ms: int) -> None:
        """Do a round where one is due, and serve what is ready."""
        while self._serves and self._serves[0][0] <= now_ms:
            self.online = self._serves.pop(0)[1]
        settings, waiting = self.settings, len(self.learner.store.fresh)
        self._next_ms = self._next_ms or now_ms + round(1000 * settings.train_seconds)
        if waiting < settings.train_minimum or self._serves:
            return
        if waiting < settings.train_examples and now_ms < self._next_ms:
            return
        self._next_ms = now_ms + round(1000 * settings.train_seconds)
        done = self.learner.round()
        if done.weights is not None:
            self.made += 1
            number = 2 * self.made + self.side
            scorer = NumpyScorer(done.weights, model_config(settings), number, done.through)
            self._serves.append((now_ms + LEARNING_MS, scorer))


class LineageLoop(ClosedLoop):
    """The closed loop with viewers in two arms.

    Args:
      share: of the viewers, who have arm B; the others have arm A.
      shared: both learners learn from all feedback.
      over: change the arms over.
      arms: settings of A and of B, and their learners.
    """

    def __init__(
        self,
        options: LoopOptions,
        arms: tuple[tuple[Settings, Learner], tuple[Settings, Learner]],
        share: float,
        shared: bool,
        over: bool = False,
    ) -> None:
        settings, learner = arms[0]
        super().__init__(settings, options, learner, load_parameters(), (ONLINE,))
        self.shared = shared
        places = [bucket(user, "lineage") for user in self.world.feeds.user_ids]
        places = [1.0 - place for place in places] if over else places
        self.sides = np.array([place < share for place in places], np.int64)
        self._side = dict(zip(self.world.feeds.user_ids, self.sides.tolist(), strict=True))
        self.partitions = [Partition(side, step_config(own), self.pool) for side, (own, _) in enumerate(arms)]
        self.lineages = [Lineage(own, one, side, self.online) for side, (own, one) in enumerate(arms)]
        for _, one in arms[1:]:
            one.net.load(learner.net.export())
            one.store.catalogue = learner.store.catalogue
        self.rewards_of = np.zeros((2, options.viewers))  # expected reward and impressions by viewer
        self._measure()

    def _measure(self) -> None:
        """Note the expected reward by viewer in the second half of the run."""
        measures, since = self.world.measures, self.now + round(500 * self.options.seconds)
        add = measures.add

        def noted(now_ms: int, arm: int, viewers: Any, reward: Floats, expected: Floats, versions: Any = ()) -> None:
            if arm == 0 and now_ms >= since:
                self.rewards_of[:, viewers] += np.stack([expected, np.ones(len(viewers))])  # all different
            add(now_ms, arm, viewers, reward, expected, versions)

        measures.add = noted  # type: ignore[method-assign]

    def kept(self) -> set[int]:
        """Return the versions that serve."""
        return {one.online.version for one in self.lineages}

    def _effects(self, events: list[Event]) -> list[Effects]:
        found = []
        batch = [(self.offset + place, self.now, event) for place, event in enumerate(events)]
        for side, partition in enumerate(self.partitions):
            mine = [one for one in batch if self._side[one[2].user_id] == side]
            if mine:
                serves = self.lineages[side].online
                found.append(partition.apply(partition.plan(mine), lambda arm, one=serves: one))  # type: ignore[misc]
        return found

    def _teach(self, record: Feedback) -> None:
        for lineage in self.lineages:
            if self.shared or lineage.side == self._side[record.user_id]:
                lineage.learner.store.add(record, True)

    def _learn(self) -> None:
        present = set(self.sides.tolist())  # an arm without viewers need not learn
        for lineage in self.lineages:
            if lineage.side in present:
                lineage.learn(self.now)
        self.pool.forget_scorers(self.kept())


def run(way: str, options: LoopOptions, changed: dict[str, Any], over: bool = False) -> LineageLoop:
    """Run one way; `changed` are settings of arm B."""
    share, shared = WAYS[way]
    arms = tuple((one, make_learner(one)) for one in (load_settings(), load_settings(**changed)))
    loop = LineageLoop(options, arms, share, shared, over)  # type: ignore[arg-type]
    loop.run()
    return loop


def difference(one: LineageLoop, other: LineageLoop, draws: int = 1000) -> Interval:
    """Return mean reward of arm B less arm A over two runs with the same viewers, with a bootstrap over viewers."""
    sums = np.zeros((2, 2, one.options.viewers))  # arm, reward or count, viewer
    for loop in (one, other):
        sums[loop.sides, :, np.arange(loop.options.viewers)] += loop.rewards_of.T
    weights = np.random.default_rng(0).poisson(1.0, (draws, sums.shape[2]))
    drawn = np.einsum("dv,akv->dak", weights, sums)
    found = drawn[:, 1, 0] / drawn[:, 1, 1] - drawn[:, 0, 0] / drawn[:, 0, 1]
    total = sums.sum(axis=2)
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(total[1, 0] / total[1, 1] - total[0, 0] / total[0, 1]), float(low), float(high))


def mean(loop: LineageLoop) -> float:
    """Return the mean expected reward of an impression."""
    return float(loop.rewards_of[0].sum() / loop.rewards_of[1].sum())


def compare(options: LoopOptions, changed: dict[str, Any]) -> dict[str, Any]:
    """Return the truth of one seed and what the experiments say."""
    a, b = run("a", options, changed), run("b", options, changed)
    found: dict[str, Any] = {"seed": options.seed, "a": round(mean(a), 4), "b": round(mean(b), 4)}
    pairs = {"truth": (a, b)} | {
        way: (run(way, options, changed), run(way, options, changed, over=True)) for way in ("shared", "own")
    }
    for way, (one, other) in pairs.items():
        gap = difference(one, other)
        found[way] = [round(number, 4) for number in (gap.value, gap.low, gap.high)]
        found[f"{way}_versions"] = [lineage.made for lineage in one.lineages]
    return found


def main() -> None:
    """Run seeds one after another; a line of JSON each."""
    from model.trainer_cli import quiet_tensorflow

    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=500.0, help="events per second of all viewers")
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--b", default='{"learning_rate": 0.0001}', help="JSON over Settings, of arm B")
    given = parser.parse_args()
    quiet_tensorflow(threads=1)
    options = LoopOptions(given.seconds, given.rate, given.viewers)
    for seed in map(int, given.seeds.split(",")):
        print(json.dumps(compare(replace(options, seed=seed), json.loads(given.b))), flush=True)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
