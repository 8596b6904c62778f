"""The whole loop in simulated time, without Kafka: the same viewers, step, trainer and gate, at a pace of their own.

What a demo shows depends on how busy its machine is; this does not. A run is a pure function of its options and seed.

    python -m benchmarks.closed_loop --seconds 120 --seeds 1,2,3
    python -m benchmarks.closed_loop --seconds 480 --jump-at 360
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from msgspec import structs

from benchmarks.recovery import Followed
from model.batches import BatchShape
from model.catalogue import Catalogue
from model.config import model_config
from model.examples import Examples, Limits
from model.registry import initial_version
from model.serving import NumpyScorer
from model.train import Learner, RoundOptions
from producers.feeds import Letter
from producers.parameters import Parameters, load_parameters
from producers.simulation import Setup, Simulation
from producers.studio import Studio
from streams.codecs import encode
from streams.config import Settings, load_settings
from streams.configured import make_pool, step_config
from streams.core.activity import Activity
from streams.core.effects import Effects
from streams.core.events import Event, Feedback
from streams.core.lifts import Social
from streams.core.ports import Scorer
from streams.core.step import Partition
from streams.feeds import Rewards

ARMS = ("online", "frozen", "popular", "random")
TICK_MS = 20
DELAY_MS = 40  # event to slate
LEARNING_MS = 3_000  # a round's feedback to its version serving


@dataclass(frozen=True)
class LoopOptions:
    """What a run is made of; `rate` in events per second over all arms, times in seconds."""

    seconds: float = 120.0
    rate: float = 1000.0
    viewers: int = 1000
    videos: int = 2000
    publish_rate: float = 4.0
    seed: int = 1
    jump_at: float | None = None


class ClosedLoop:
    """One run. `learner` is given, so that its options can be compared; so may be the world's parameters and arms."""

    make_world = Simulation
    make_partition = Partition

    def __init__(
        self,
        settings: Settings,
        options: LoopOptions,
        learner: Learner,
        parameters: Parameters | None = None,
        arms: tuple[str, ...] = ARMS,
    ) -> None:
        self.settings, self.options, self.learner = settings, options, learner
        self.pool = make_pool(settings)
        self.activity = Activity(4 * options.viewers)
        config = step_config(settings)
        self.partition = self.make_partition(0, config, self.pool, Social(config.lifts, self.pool, self.activity))
        self.rewards = Rewards()
        parameters = load_parameters() if parameters is None else parameters
        self.world = self.make_world(parameters, self._setup(arms))
        self.now = 1_700_000_000_000
        if options.jump_at is not None:
            jump_ms = self.now + round(1000 * options.jump_at)
            self.world.measures = Followed(arms, options.viewers, options.seed, jump_ms)
        self._publish(self.world.catalogue.open(options.videos, self.now))
        self.world.begin(self.now)
        self.studio = Studio(
            self.world.catalogue, parameters.catalogue, options.publish_rate, settings.pool_capacity, self.now
        )
        first = initial_version(settings.model_name, model_config(settings))
        learner.net.load(first.weights)
        self.online: Scorer = first.scorer()
        self.frozen: Scorer | None = None
        self.offset = 0
        self._next_round = self.now + round(1000 * settings.train_seconds)
        self._serves: list[tuple[int, NumpyScorer]] = []
        self._mail: dict[bytes, Letter] = {}
        self._posted: list[tuple[int, dict[bytes, Letter]]] = []
        self.versions = 0
        self.log: list[dict[str, Any]] = []

    def _setup(self, arms: tuple[str, ...]) -> Setup:
        settings, options = self.settings, self.options
        return Setup(
            options.viewers, arms, options.seed, f"loop{options.seed}", round(1000 * settings.label_window_s),
            round(3_600_000 * settings.fresh_hours), options.jump_at, "frozen" if "frozen" in arms else "start",
        )  # fmt: skip

    def run(self) -> dict[str, Any]:
        """Return the simulator's summary."""
        end = self.now + round(1000 * self.options.seconds)
        tokens = 0.0
        while self.now < end:
            self.now += TICK_MS
            self._deliver()
            tokens = min(tokens + self.options.rate * TICK_MS / 1000, self.options.rate)
            events = self.world.tick(self.now, int(tokens), self._mail)
            tokens -= len(events)
            self._apply(events)
            self._change()
            self._learn()
        return self.world.measures.summary()

    def scorer(self, arm: str) -> Scorer:
        """Return what serves an arm."""
        return self.frozen if arm == "frozen" and self.frozen is not None else self.online

    def kept(self) -> set[int]:
        """Return the versions that serve some arm."""
        return {self.online.version} | ({self.frozen.version} if self.frozen else set())

    def _apply(self, events: list[Any]) -> None:
        if not events:
            return
        effects = self._effects(events)
        self.offset += len(events)
        arrival = self.now + DELAY_MS
        letters = {slate.user_id.encode(): Letter(arrival, encode(slate)) for part in effects for slate in part.slates}
        self._posted.append((arrival, letters))
        for record in (record for part in effects for record in part.feedback):
            self._teach(record)
            self.activity.add(record)
            amount = self.rewards.increment(record)
            if amount:
                self.pool.reward(record.video_id, amount, record.impression_ms)

    def _effects(self, events: list[Event]) -> list[Effects]:
        """Return what events do, in one partition here."""
        batch = [(self.offset + place, self.now, event) for place, event in enumerate(events)]
        return [self.partition.apply(self.partition.plan(batch), self.scorer)]

    def _teach(self, record: Feedback) -> None:
        """Give feedback to whoever learns."""
        self.learner.store.add(record, True)

    def _deliver(self) -> None:
        while self._posted and self._posted[0][0] <= self.now:
            self._mail.update(self._posted.pop(0)[1])

    def _change(self) -> None:
        for video_id, video in self.studio.tick(self.now):
            if video is None:
                self.pool.withdraw(video_id)
            else:
                self._publish([video])

    def _publish(self, videos: list[Any]) -> None:
        given = self.pool.add(videos)
        self.partition.states.place(list(given), list(given.values()))
        self.learner.store.catalogue.add(videos)

    def _learn(self) -> None:
        while self._serves and self._serves[0][0] <= self.now:
            self.online = self._serves.pop(0)[1]
            if self.frozen is None and self.online.trained_through >= self.settings.frozen_after:
                self.frozen = self.online
            self.pool.forget_scorers(self.kept())
        waiting = len(self.learner.store.fresh)
        if waiting < self.settings.train_minimum or self._serves:
            return
        if waiting < self.settings.train_examples and self.now < self._next_round:
            return
        self._next_round = self.now + round(1000 * self.settings.train_seconds)
        done = self.learner.round()
        verdict = done.verdict
        self.log.append({"at_s": (self.now - self.world.start_ms) / 1000, "reason": verdict.reason})
        if done.weights is not None:
            self.versions += 1
            scorer = NumpyScorer(done.weights, model_config(self.settings), self.versions, done.through)
            self._serves.append((self.now + LEARNING_MS, scorer))


def drifting(rad_per_hour: float) -> Parameters:
    """Return the simulator's parameters with tastes that turn so fast."""
    parameters = load_parameters()
    viewers = structs.replace(parameters.viewers, drift_rad_per_hour=rad_per_hour)
    return structs.replace(parameters, viewers=viewers)


def make_learner(settings: Settings, rounds: RoundOptions | None = None, **changed: Any) -> Learner:
    """Return a learner as the trainer has it, with an empty store.

    Args:
      changed: fields of `NetOptions` that are to differ from the settings.
    """
    from model.nets import Net
    from model.trainer_cli import net_options

    shape, options = BatchShape.remembering(settings.recent_events), replace(net_options(settings), **changed)
    net = Net(model_config(settings), shape, options, settings.model_seed)
    store = Examples(Catalogue(options.read), Limits.remembering(shape.steps))
    return Learner(net, store, shape, rounds or RoundOptions(), settings.model_seed)


def main() -> None:
    """Run seeds one after another; a line of JSON each."""
    from model.trainer_cli import quiet_tensorflow

    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--jump-at", type=float, help="seconds from the start at which every taste jumps")
    parser.add_argument("--friends", type=int, default=0, help="of a viewer who comes for the first time")
    parser.add_argument("--follows", type=int, default=0)
    parser.add_argument("--net", default="{}", help="JSON over NetOptions")
    parser.add_argument("--round", default="{}", help="JSON over RoundOptions")
    parser.add_argument("--set", default="{}", help="JSON over Settings")
    given = parser.parse_args()
    quiet_tensorflow(threads=1)
    chosen = {"arms": {arm: arm for arm in ARMS}} | json.loads(given.set)
    settings = load_settings(**{"recent_events": load_settings(**chosen).watched_recent} | chosen)
    base = load_parameters()
    social = structs.replace(base.social, friends=given.friends, follows=given.follows)
    parameters = structs.replace(base, social=social)
    for seed in map(int, given.seeds.split(",")):
        learner = make_learner(settings, RoundOptions(**json.loads(given.round)), **json.loads(given.net))
        options = LoopOptions(given.seconds, given.rate, seed=seed, jump_at=given.jump_at)
        loop = ClosedLoop(settings, options, learner, parameters)
        found = loop.run()
        keys = ("reward_share", "reward_share_interval", "lead", "measured_impressions", "last_minute")
        print(json.dumps({"seed": seed, "versions": loop.versions} | {key: found.get(key) for key in keys}))
        print(json.dumps(loop.log[-3:]))
        if isinstance(loop.world.measures, Followed):
            print(json.dumps({"recovery": loop.world.measures.recovery()}))


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
