"""Estimates of policies that never ran, beside the simulator's truth. The closed loop logs, exploring by Boltzmann.

What `model.counterfactual` makes of the feedback alone is compared with what the viewers would have done: for each
explored choice of the log videos are drawn from the judged policy, and the simulator's viewer answers anew. Versions
are those of the middle of the run, and the choices those of its second half, which no such version has learned from.

    python -m benchmarks.off_policy --seeds 1,2,3
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.closed_loop import ClosedLoop, LoopOptions, make_learner
from model.choices import Choices, Log, Reals, Shelf
from model.counterfactual import ByVersion, Target, by_popularity, judge, rows, uniform
from model.judging import told
from model.train import Learner
from producers.behaviour import UNIFORMS, behave
from producers.parameters import Parameters
from producers.simulation import ONLINE
from streams.config import Settings, load_settings
from streams.core.events import Feedback, Video

LOGGING = {"slate_size": 5, "exploration": 0.2, "exploration_by": "boltzmann"}  # a position of each slate is explored
ANSWERS = 4  # for each choice


class LoggingLoop(ClosedLoop):
    """The closed loop with one arm, whose feedback is kept as a log."""

    def __init__(
        self, settings: Settings, options: LoopOptions, learner: Learner, parameters: Parameters | None = None
    ) -> None:
        self.kept_log, self.published = Log(ONLINE), list[Video]()
        super().__init__(settings, options, learner, parameters, (ONLINE,))
        self.middle, self.middle_ms = self.online, self.now + round(500 * options.seconds)

    def _learn(self) -> None:
        super()._learn()
        if self.now <= self.middle_ms:
            self.middle = self.online

    def kept(self) -> set[int]:
        """Return the versions that serve, or are judged."""
        return super().kept() | {self.middle.version}

    def _publish(self, videos: list[Any]) -> None:
        self.published += videos
        super()._publish(videos)

    def _teach(self, record: Feedback) -> None:
        self.kept_log.add(record)
        super()._teach(record)

    def choices(self) -> Choices:
        """Return the explored choices of the second half."""
        fresh_ms = round(3_600_000 * self.settings.fresh_hours)
        return self.kept_log.choices(Shelf(self.published, (), fresh_ms)).after(self.middle_ms)

    def targets(self, choices: Choices, size: int) -> dict[str, Target]:
        """Return the policies that are judged, by name."""
        half_life_ms = 1000 * self.settings.popularity_half_life_s
        newest = ByVersion(self.middle, choices)
        found = {
            "random": Target(uniform, len(choices.shelf.videos)),
            "popular": Target(by_popularity(half_life_ms), size),
            "online": Target(newest, size, 5, self.settings.threshold),
            "online, threshold .5": Target(newest, size, 5, 0.5),
        }
        if self.frozen is not None and self.frozen.version <= self.middle.version:
            found["frozen"] = Target(ByVersion(self.frozen, choices), size, 5, self.settings.threshold)
        return found

    def truth(self, choices: Choices, target: Target) -> tuple[float, float]:
        """Return the mean label that the policy would have earned on the same choices, and its standard error."""
        rng, world = np.random.default_rng(self.options.seed), self.world
        numbers = np.array([world.catalogue.number(video.video_id) for video in choices.shelf.videos])
        viewer_of = {user: viewer for viewer, user in enumerate(world.feeds.user_ids)}
        viewers = np.array([viewer_of[user] for user in choices.users])[choices.user]
        labels: list[Reals] = []
        for some, chances in rows(choices, target):
            cut = np.cumsum(chances, axis=1)
            wanted = rng.random((len(cut), ANSWERS)) * cut[:, -1:]
            videos = numbers[(cut[:, None, :] > wanted[:, :, None]).argmax(axis=2)].ravel()
            at_s = (float(choices.at_ms[some].mean()) - world.start_ms) / 1000
            tastes = np.repeat(world.viewers.tastes(viewers[some], at_s), ANSWERS, axis=0)
            labels.append(self._labels(tastes, videos, rng).reshape(-1, ANSWERS).mean(axis=1))
        found = np.concatenate(labels)
        return float(found.mean()), float(found.std() / np.sqrt(len(found)))

    def _labels(self, tastes: Any, videos: Any, rng: np.random.Generator) -> Reals:
        """Return how viewers with these tastes would label these videos; some answers are lost."""
        catalogue, parameters = self.world.catalogue, self.world.parameters
        match = np.einsum("bd,bd->b", tastes, catalogue.vectors[videos])
        u = rng.random((len(videos), UNIFORMS))
        found = behave(match, catalogue.quality[videos], catalogue.log_length[videos], u, parameters.behaviour)
        liked = found.liked | found.shared | found.commented | found.followed
        graded = np.where(found.hidden, 0.0, (np.minimum(found.watch_ratio, 1.0) + liked) / 2.0)
        return np.asarray(graded * (rng.random(len(videos)) >= parameters.pace.missing), np.float64)


def compare(loop: LoggingLoop, size: int) -> list[dict[str, Any]]:
    """Return for each policy its truth and what the log says of it."""
    choices = loop.choices()
    reward = ByVersion(loop.middle, choices)
    found = []
    for name, target in loop.targets(choices, size).items():
        value, error = loop.truth(choices, target)
        found.append({"policy": name, "truth": round(value, 4), "truth_error": round(error, 4)})
        found[-1] |= told(judge(choices, target, reward))
        blind = replace(choices, chance=np.full(len(choices), float(np.exp(np.log(choices.chance).mean()))))
        found[-1]["propensities_forgotten"] = told(judge(blind, target))["snips"]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run seeds one after another; a line of JSON for each policy."""
    from model.trainer_cli import quiet_tensorflow

    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rate", type=float, default=800.0)
    parser.add_argument("--viewers", type=int, default=2000)
    parser.add_argument("--size", type=int, default=20, help="positions of the slates of judged policies")
    parser.add_argument("--temperature", type=float, default=0.25)
    parser.add_argument("--seeds", default="1")
    given = parser.parse_args(arguments)
    quiet_tensorflow(threads=1)
    settings = load_settings(**LOGGING, temperature=given.temperature)
    for seed in map(int, given.seeds.split(",")):
        loop = LoggingLoop(
            settings, LoopOptions(given.seconds, given.rate, given.viewers, seed=seed), make_learner(settings)
        )
        loop.run()
        logged = {"seed": seed, "versions": loop.versions, "mean_label": round(float(loop.choices().label.mean()), 4)}
        print(json.dumps(logged))
        for row in compare(loop, given.size):
            print(json.dumps({"seed": seed} | row), flush=True)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
