"""Estimates from a log of feedback alone, beside what the simulator's viewers would have done."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.closed_loop import LoopOptions
from benchmarks.off_policy import LOGGING, LoggingLoop, compare
from model.catalogue import Catalogue
from model.counterfactual import ByVersion, Target, by_popularity, judge, rows
from model.examples import Examples, Limits
from streams.config import load_settings

pytestmark = pytest.mark.training

TEMPERATURE = 0.003  # the scores of version 0 are nearly alike


@pytest.fixture(scope="module")
def loop():
    """A log by version 0, which nobody trains."""
    settings = load_settings(**LOGGING, temperature=TEMPERATURE, train_minimum=1_000_000)
    learner = SimpleNamespace(net=SimpleNamespace(load=lambda weights: None), store=Examples(Catalogue(), Limits()))
    made = LoggingLoop(settings, LoopOptions(60.0, 800.0, 800, 400, 1.0), learner)
    made.run()
    return made


@pytest.fixture(scope="module")
def choices(loop):
    return loop.choices()


def test_the_log_tells_with_which_chance_each_video_was_drawn(loop, choices):
    """Version 0 made the slates, so what its scores say of a choice is what the log says."""
    assert len(choices) > 800
    scores = ByVersion(loop.online, choices)
    found = []
    for some in choices.chunks():
        logits = np.where(choices.eligible(some), scores(choices, some), -np.inf)
        chances = np.exp((logits - logits.max(axis=1, keepdims=True)) / TEMPERATURE)
        chances /= chances.sum(axis=1, keepdims=True)
        found.append(chances[np.arange(len(chances)), choices.video[some]])
    np.testing.assert_allclose(np.median(np.concatenate(found) / choices.chance), 1.0, atol=0.01)


@pytest.fixture(scope="module")
def compared(loop):
    return {row["policy"]: row for row in compare(loop, 20)}


@pytest.mark.parametrize("name", ["random", "popular", "online", "online, threshold .5"])
def test_the_interval_covers_the_truth(compared, name):
    found = compared[name]
    for kind in ("snips", "robust"):
        low, high = found[kind]["low"], found[kind]["high"]
        assert low - 2 * found["truth_error"] <= found["truth"] <= high + 2 * found["truth_error"], kind
        assert high - low < 0.2
    low, high = found["weight"]["low"], found["weight"]["high"]
    assert low <= 1.0 <= high + 0.03  # a few chosen videos were withdrawn, and can be in no log
    assert found["effective"] > 50


def test_a_wrong_propensity_is_seen(loop, choices):
    target = loop.targets(choices, 20)["online"]
    assert judge(choices, target).weight.high > 1.0
    wrong = replace(choices, chance=np.minimum(2.0 * choices.chance, 1.0))
    found = judge(wrong, target).weight
    assert found.high < 1.0
    forgotten = judge(replace(choices, chance=np.full(len(choices), choices.chance.mean())), target)
    assert not forgotten.weight.low <= 1.0 <= forgotten.weight.high


def test_a_policy_never_chooses_what_was_seen_or_not_yet_published(choices):
    for some, chances in rows(choices, Target(by_popularity(3_600_000.0), 5)):
        np.testing.assert_allclose(chances.sum(axis=1), 1.0)
        for row, seen in enumerate(choices.seen[some]):
            assert not chances[row, seen].any()
        published = np.array([video.published_ms for video in choices.shelf.videos])
        assert not chances[published[None, :] > choices.at_ms[some][:, None]].any()
