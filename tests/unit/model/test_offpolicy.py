import numpy as np
import pytest

from model.offpolicy import doubly_robust, effective, snips

ARMS = 8


def softmax(scores):
    chances = np.exp(scores - scores.max(1, keepdims=True))
    return chances / chances.sum(1, keepdims=True)


class Bandit:
    """Contexts with a true reward for each arm; one Boltzmann policy logs, another is judged."""

    def __init__(self, count=6000, seed=0):
        rng = np.random.default_rng(seed)
        self.users = rng.integers(0, count // 10, count)
        self.truth = rng.beta(2, 3, (count // 10, ARMS))[self.users]
        logging = softmax(rng.normal(size=(count, ARMS)))
        self.target = softmax(6.0 * self.truth)
        self.chosen = np.array([rng.choice(ARMS, p=row) for row in logging])
        at = np.arange(count), self.chosen
        self.rewards = (rng.random(count) < self.truth[at]).astype(float)
        self.logged, self.wanted, self.at = logging[at], self.target[at], at
        self.value = float((self.target * self.truth).sum(1).mean())

    def robust(self, model):
        return doubly_robust(
            self.rewards, self.logged, self.wanted, model[self.at], (self.target * model).sum(1), self.users
        )


def test_the_value_of_a_policy_that_never_ran_is_estimated_and_the_plain_mean_is_not_it():
    worlds = [Bandit(seed=seed) for seed in range(10)]
    found = [(one, snips(one.rewards, one.logged, one.wanted, one.users)) for one in worlds]
    assert sum(got.low <= one.value <= got.high for one, got in found) >= 8
    assert all(one.rewards.mean() < got.low for one, got in found)


def test_doubly_robust_is_right_with_a_wrong_model_and_narrower_with_a_good_one():
    one = Bandit()
    plain = snips(one.rewards, one.logged, one.wanted, one.users)
    wrong, good = one.robust(np.full_like(one.truth, 0.9)), one.robust(one.truth)
    assert wrong.low <= one.value <= wrong.high
    assert good.low <= one.value <= good.high
    assert good.high - good.low < plain.high - plain.low


def test_a_policy_like_the_one_that_logged_has_the_plain_mean():
    one = Bandit(1000)
    assert snips(one.rewards, one.logged, one.logged, one.users).value == pytest.approx(one.rewards.mean())


def few(seed, users=250):
    """Few choices with large weights, several of one user, whose rewards hang together and with the weights."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), rng.integers(1, 8, users))
    own = rng.normal(size=users)[user]
    arms = rng.normal(size=(len(user), 40))
    logging = softmax(1.5 * arms)
    target = np.zeros_like(logging)
    other = 0.5 * arms + rng.normal(size=arms.shape)
    np.put_along_axis(target, np.argsort(-other, axis=1)[:, :5], 0.2, axis=1)
    truth = 1.0 / (1.0 + np.exp(-0.7 * arms - own[:, None]))
    chosen = (logging.cumsum(1) > rng.random((len(user), 1))).argmax(1)
    at = np.arange(len(user)), chosen
    rewards = (rng.random(len(user)) < truth[at]).astype(float)
    model = 1.0 / (1.0 + np.exp(-0.5 * arms))
    value = float((target * truth).sum(1).mean())
    robust = doubly_robust(rewards, logging[at], target[at], model[at], (target * model).sum(1), user)
    return value, snips(rewards, logging[at], target[at], user), robust, effective(target[at] / logging[at])


def test_intervals_hold_the_truth_as_often_as_they_say_with_few_effective_choices():
    found = [few(seed) for seed in range(300)]
    assert 50 < np.median([choices for *_, choices in found]) < 100
    for kind, least in ((1, 0.93), (2, 0.945)):
        held = np.mean([one[kind].low <= one[0] <= one[kind].high for one in found])
        assert held >= least
        assert np.median([one[kind].high - one[kind].low for one in found]) < 0.3


def test_the_interval_of_one_choice_and_of_choices_that_are_alike_is_the_value():
    one = np.ones(1)
    assert snips(one, one, one, np.zeros(1, np.int64)).high == 1.0
    alike = np.full(20, 0.5)
    found = snips(alike, alike, alike, np.arange(20))
    assert found.low == found.value == found.high == 0.5
