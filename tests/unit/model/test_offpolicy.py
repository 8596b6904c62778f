import numpy as np
import pytest

from model.offpolicy import doubly_robust, snips

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
