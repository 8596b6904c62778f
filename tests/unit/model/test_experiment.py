import msgspec
import numpy as np
import pytest

from model.experiment import Result
from streams.config import ConfigError, load_settings
from streams.configured import step_config
from streams.core.columns import StepConfig
from streams.core.events import Feedback

ARMS = {"online": "online", "frozen": "frozen"}
SHARES = {"frozen": 0.5}


@pytest.fixture(scope="module")
def config() -> StepConfig:
    return step_config(load_settings(arms=ARMS, experiment="spring", experiment_shares=SHARES))


def feedback(config, effect, users=300, labels=6000, seed=0):
    rng = np.random.default_rng(seed)
    taste = rng.beta(2, 3, users)
    for at in range(labels):
        user = int(rng.integers(users))
        arm = config.arm(f"u{user}")
        label = float(np.clip(rng.normal(taste[user] + effect * (arm == "frozen"), 0.3), 0, 1))
        yield Feedback(
            impression_id=f"i{at}", user_id=f"u{user}", video_id="v", revision=0, offset=at, event_time_ms=at,
            impression_ms=at, label=label, arm=arm,
        )  # fmt: skip


def test_an_a_a_experiment_is_quiet(config):
    settled = 0
    for seed in range(20):
        result = Result("online", "spring")
        result.add(feedback(config, 0.0, labels=2000, seed=seed))
        found = result.summary()
        settled += found["differences"]["frozen"]["settled"] + found["aa"]["settled"]
    assert settled <= 2


def test_a_real_difference_settles_and_the_a_a_check_stays_quiet(config):
    result = Result("online", "spring")
    result.add(feedback(config, -0.2))
    found = result.summary()
    assert found["differences"]["frozen"]["settled"]
    assert found["differences"]["frozen"]["high"] < 0.0
    assert not found["aa"]["settled"]
    assert sum(one["labels"] for one in found["arms"].values()) == 6000


def test_explored_slots_tell_what_a_uniform_draw_would_earn(config):
    records = []
    for at, one in enumerate(feedback(config, 0.0)):
        explored = at % 10 == 0
        records.append(
            msgspec.structs.replace(
                one, arm="online", slate_id=f"0-{at}", label=0.2 + 0.1 * (at % 20 == 0) if explored else 0.6,
                propensity=0.002 if explored else 0.9,
            )
        )  # fmt: skip
    result = Result("online")
    result.add(records)
    found = result.summary()["uniform"]
    assert found["labels"] == 600
    assert found["value"] == pytest.approx(0.25)
    assert 0.23 < found["low"] < found["high"] < 0.27


def test_slots_drawn_by_score_are_weighed_by_their_propensities():
    rng = np.random.default_rng(0)
    labels, chances = np.linspace(0.1, 0.9, 5), np.array([0.02, 0.01, 0.01, 0.005, 0.005])
    drawn = rng.choice(5, 4000, p=chances / chances.sum())
    result = Result("online")
    result.add(
        Feedback(
            impression_id=f"i{at}", user_id=f"u{at % 200}", video_id="v", revision=0, offset=at, event_time_ms=at,
            impression_ms=at, label=labels[video], slate_id=f"0-{at}", propensity=chances[video],
        )
        for at, video in enumerate(drawn.tolist())
    )  # fmt: skip
    found = result.summary()["uniform"]
    assert found["low"] < labels.mean() < found["high"]
    assert labels[drawn].mean() < found["low"]


def test_a_later_revision_replaces_the_label(config):
    result = Result("online")
    first = next(iter(feedback(config, 0.0)))
    result.add([first, msgspec.structs.replace(first, revision=1, label=0.25)])
    (arm,) = result.summary()["arms"].values()
    assert arm == {"users": 1, "labels": 1, "mean_label": 0.25}


def test_buckets_cut_the_users_by_the_shares_and_stay_as_they_are(config):
    arms = [config.arm(f"u{at}") for at in range(2000)]
    assert arms == [config.arm(f"u{at}") for at in range(2000)]
    assert np.mean([arm == "frozen" for arm in arms]) == pytest.approx(0.5, abs=0.04)
    other = step_config(load_settings(arms=ARMS, experiment="autumn", experiment_shares=SHARES))
    both = [arm == other.arm(f"u{at}") for at, arm in enumerate(arms)]
    assert np.mean(both) == pytest.approx(0.5, abs=0.04)
    assert config.arm("u1@frozen") == "frozen"  # a suffix goes first


@pytest.mark.parametrize(
    ("shares", "said"), [({"spare": 0.5}, "not among arms"), ({"frozen": 0.7, "online": 0.5}, "exceed 1")]
)
def test_shares_that_cannot_be_are_refused(shares, said):
    with pytest.raises(ConfigError, match=said):
        load_settings(arms=ARMS, experiment_shares=shares)
