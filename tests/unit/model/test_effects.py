"""Additive effects: what is told apart, what is not, and what a later event may change."""

import numpy as np
import pytest

from model.effects import Effects

PRECISIONS = {"user": 1.0, "item": 1.0}


def log(count, seed=0, items=30, users=40):
    """Users who are shown items of very different appeal, each user mostly those of one half."""
    rng = np.random.default_rng(seed)
    taste, appeal = rng.normal(0, 1, users), np.where(np.arange(items) < items // 2, -2.0, 2.0)
    user = rng.integers(0, users, count)
    half = np.where(rng.random(count) < 0.9, user % 2, 1 - user % 2)
    item = rng.integers(0, items // 2, count) + half * (items // 2)
    label = rng.random(count) < 1 / (1 + np.exp(-taste[user] - appeal[item]))
    return user.tolist(), item.tolist(), label.tolist(), taste


def keys(user, item):
    return {"user": ("u", user), "item": ("i", item), "other": ("o", 1)}


def fitted(user, item, label):
    found = Effects(PRECISIONS)
    for one, other, positive in zip(user, item, label, strict=True):
        found.collect(keys(one, other), positive)
    found.fit()
    return found


def test_a_fit_is_where_the_slope_of_the_posterior_is_zero():
    user, item, label, _ = log(2_000)
    found = fitted(user, item, label)
    logits = np.array([found.logit(keys(one, other)) for one, other in zip(user, item, strict=True)])
    left = np.array(label) - 1 / (1 + np.exp(-logits))
    for number in range(40):
        own = left[np.array(user) == number].sum()
        assert own == pytest.approx(found.weight(("u", number)), abs=0.05)  # precision 1: the prior's slope


@pytest.mark.parametrize(("at_once", "least"), [(True, 0.9), (False, 0.8)])
def test_a_user_is_told_from_what_the_user_is_shown(at_once, least):
    """Rates of users follow the appeal of their items here; effects follow taste."""
    user, item, label, taste = log(8_000)
    if at_once:
        found = fitted(user, item, label)
    else:
        found = Effects(PRECISIONS)
        for one, other, positive in zip(user, item, label, strict=True):
            found.learn(keys(one, other), positive)
    effects = np.array([found.weight(("u", number)) for number in range(40)])
    rates = np.array([np.mean(np.array(label)[np.array(user) == number]) for number in range(40)])
    assert np.corrcoef(effects, taste)[0, 1] > least
    assert np.corrcoef(rates, taste)[0, 1] < 0.7


def test_events_one_by_one_come_close_to_all_at_once():
    user, item, label, _ = log(8_000)
    whole, half = fitted(user, item, label), fitted(user[:4_000], item[:4_000], label[:4_000])
    before = np.array([half.weight(("u", number)) for number in range(40)])
    for one, other, positive in zip(user[4_000:], item[4_000:], label[4_000:], strict=True):
        half.learn(keys(one, other), positive)
    after = np.array([half.weight(("u", number)) for number in range(40)])
    true = np.array([whole.weight(("u", number)) for number in range(40)])
    assert np.abs(after - true).mean() < 0.5 * np.abs(before - true).mean()


def test_a_fork_goes_on_apart_and_what_is_unknown_is_zero():
    found = Effects(PRECISIONS)
    found.learn(keys(1, 1), True)
    fork = found.fork()
    kept = fork.weight(("u", 1))
    assert kept > 0
    found.learn(keys(1, 2), True)
    found.learn(keys(2, 2), False)
    assert fork.weight(("u", 1)) == kept < found.weight(("u", 1))
    assert fork.weight(("u", 2)) == fork.weight(("i", 2)) == 0.0
    fork.learn(keys(3, 3), False)
    assert fork.weight(("u", 3)) < 0 == found.weight(("u", 3))
    found.learn(keys(4, 4), True)
    fork.learn(keys(4, 4), False)
    assert fork.weight(("u", 4)) < 0 < found.weight(("u", 4))


def test_a_second_event_moves_less_than_the_first():
    found = Effects(PRECISIONS)
    found.learn(keys(1, 1), True)
    first = found.weight(("u", 1))
    found.learn(keys(1, 2), True)
    assert 0 < found.weight(("u", 1)) - first < first


def test_nothing_to_fit_is_no_failure():
    found = Effects(PRECISIONS)
    found.fit()
    assert found.logit(keys(1, 1)) == 0.0
