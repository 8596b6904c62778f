"""`freshloop experiment` on feedback in a real broker."""

import json
import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from streams.admin import create_topics
from streams.codecs import encode
from streams.topics import Topics
from tests.running import environment, publish
from tests.training.world import START_MS, World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def run(settings, *arguments):
    command = [sys.executable, "-m", "streams.main", "experiment", *arguments]
    return subprocess.run(
        command, env=os.environ | environment(settings), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def settings(broker, make_settings):
    """A log of 60 viewers who were shown videos uniformly, a tenth of them as explored positions."""
    found = make_settings(partitions=1, slate_size=10)
    world, rng, topics = World(viewers=60, videos=200, topics=12, authors=40), np.random.default_rng(1), Topics(found)
    create_topics(found)
    records = []
    for at in range(2500):
        one = world.watch(int(rng.integers(60)), int(rng.integers(200)), START_MS + 1000 * (at + 1))
        propensity = 0.1 / 200 if at % 10 == 0 else 0.9
        records.append(msgspec.structs.replace(one, propensity=propensity))
    raw = [
        {"topic": topics.feedback, "key": one.user_id.encode(), "value": encode(one), "partition": 0} for one in records
    ]
    publish(found, videos=world.catalogue, raw=raw)
    return found


def test_policies_are_judged_by_the_explored_positions(settings):
    done = run(settings, "--policy", "random", "--policy", "popular", "--policy", "version:0", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["policies"]
    assert list(found) == ["random", "popular", "version:0"]
    random, popular = found["random"], found["popular"]
    assert random["choices"] == 250
    assert 180 <= random["effective"] <= 250  # nearly alike, but for what was seen before and has none
    assert random["weight"]["low"] < 1.0 < random["weight"]["high"]
    assert 0 < popular["effective"] < 30
    assert run(settings, "--policy", "random", "--json").returncode == 0  # no version, so no model of the reward
    for one in found.values():
        assert one["snips"]["low"] <= one["snips"]["value"] <= one["snips"]["high"]
        assert one["robust"]["low"] <= one["robust"]["value"] <= one["robust"]["high"]
    said = run(settings, "--policy", "popular", "--threshold", "0.2")
    assert "policy popular: self-normalised" in said.stdout


@pytest.mark.parametrize(("name", "said"), [("best", "no policy 'best'"), ("version:7", "no version 7")])
def test_a_policy_that_is_not_there_is_named(settings, name, said):
    done = run(settings, "--policy", name)
    assert done.returncode != 0
    assert said in done.stderr
