import msgspec
import numpy as np
import pytest

from model.manifest import Current
from model.trial import LiveTrial
from streams.core.events import Feedback
from streams.core.hashing import bucket
from streams.core.ports import trial_salt

CURRENT = Current(epoch=4, version=2, canary=3, share=0.3)


def on_trial(user):
    return bucket(user, trial_salt(3)) < CURRENT.share


def record(user, at, label, version=None):
    served = (3 if on_trial(user) else 2) if version is None else version
    return Feedback(
        impression_id=f"{user}-{at}", user_id=user, video_id="v", revision=0, offset=at, event_time_ms=at,
        impression_ms=at, label=label, model_version=served,
    )  # fmt: skip


def feed(trial, effect, count=6000, users=400, seed=0):
    """Feed labels of random users until the trial ends; return its outcome and how many it took."""
    rng = np.random.default_rng(seed)
    for at in range(count):
        user = f"u{rng.integers(users)}"
        label = float(np.clip(rng.normal(0.4 + effect * on_trial(user), 0.3), 0, 1))
        trial.add(record(user, at, label))
        if at % 200 == 199 and (found := trial.outcome()):
            return found, at + 1
    return None, count


def test_a_version_that_lowers_the_reward_is_taken_back_before_the_trial_is_over():
    found, took = feed(LiveTrial(CURRENT, 2000), -0.15)
    assert found.version == 2
    assert found.reason.startswith("version 3 is taken back: mean label 0.")
    assert took < 3000


def test_a_version_that_is_no_worse_serves_all_once_there_are_labels_enough():
    found, took = feed(LiveTrial(CURRENT, 1000), 0.0)
    assert found.version == 3
    assert "passed" in found.reason
    assert took >= 1000 / CURRENT.share * 0.9


def test_a_version_like_the_other_is_hardly_ever_taken_back():
    taken = [feed(LiveTrial(CURRENT, 800), 0.0, seed=seed)[0].version == 2 for seed in range(40)]
    assert sum(taken) <= 3


def test_only_labels_of_the_users_of_each_side_count():
    trial = LiveTrial(CURRENT, 10)
    for at in range(500):
        user = f"u{at}"
        trial.add(record(user, at, 0.9, version=2 if on_trial(user) else 3))  # an earlier slate, of another version
        trial.add(record(user, 1000 + at, 0.9, version=1))
    assert trial.outcome() is None


def test_a_correction_replaces_the_label():
    trial = LiveTrial(CURRENT, 100)
    for at in range(600):
        first = record(f"u{at}", at, 0.0)
        trial.add(first)
        trial.add(msgspec.structs.replace(first, revision=1, label=0.5 + 0.001 * (at % 2)))
    assert "mean label 0.50" in trial.outcome().reason


def test_a_side_with_hardly_any_users_is_not_waited_for_for_ever():
    trial = LiveTrial(msgspec.structs.replace(CURRENT, share=0.01), 50)
    found, took = feed(trial, 0.0, users=3000)
    assert found.version == 3
    assert took <= 1400


def test_buckets_are_the_users_own_and_other_for_each_version():
    users = [f"u{at}" for at in range(2000)]
    one, other = ([bucket(user, trial_salt(version)) < 0.3 for user in users] for version in (3, 4))
    assert np.mean(one) == pytest.approx(0.3, abs=0.04)
    assert np.mean(np.logical_and(one, other)) == pytest.approx(0.09, abs=0.03)


def test_who_is_forgotten_leaves_nothing_in_a_trial():
    trial = LiveTrial(CURRENT, 10)
    for at in range(200):
        trial.add(record(f"u{at % 20}", at, 0.5))
    trial.forget(lambda user: user == "u3")
    assert "u3" not in repr(vars(trial)) + repr([vars(tally) for tally in trial._sides.values()])
    assert "u4" in repr(vars(trial))
