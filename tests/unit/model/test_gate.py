import numpy as np
import pytest

from model.gate import judge, log_losses


def losses(count=400, users=50, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.uniform(0.3, 1.2, count).astype(np.float32),
        np.ones(count, np.float32),
        rng.integers(0, users, count),
    )


def test_a_better_candidate_is_accepted_and_the_reason_says_by_how_much():
    incumbent, weights, users = losses()
    found = judge(incumbent - np.float32(0.01), incumbent, weights, users, margin=0.0)
    assert found.accepted
    assert found.difference == pytest.approx(-0.01, abs=1e-5)
    assert found.low == pytest.approx(found.high, abs=1e-5) == pytest.approx(-0.01, abs=1e-5)
    assert (found.examples, found.users) == (400, 50)
    assert found.reason.startswith("accepted: log-loss")
    assert len(found.reason) <= 300


def test_a_worse_candidate_is_refused_unless_the_margin_allows_it():
    incumbent, weights, users = losses()
    worse = incumbent + np.float32(0.01)
    assert not judge(worse, incumbent, weights, users, margin=0.0).accepted
    assert judge(worse, incumbent, weights, users, margin=0.02).accepted


def test_the_same_is_no_worse():
    incumbent, weights, users = losses()
    assert judge(incumbent, incumbent, weights, users, margin=0.0).accepted


def test_scores_that_are_not_finite_are_refused():
    incumbent, weights, users = losses()
    broken = incumbent.copy()
    broken[3] = np.nan
    found = judge(broken, incumbent, weights, users, margin=1.0)
    assert not found.accepted
    assert "finite" in found.reason


def test_nothing_held_back_is_no_proof():
    empty = np.zeros(0, np.float32)
    assert not judge(empty, empty, empty, np.zeros(0, np.int64), margin=1.0).accepted


def test_weights_count():
    incumbent = np.array([0.5, 0.5], np.float32)
    candidate = np.array([0.4, 0.7], np.float32)
    users = np.array([0, 1])
    assert not judge(candidate, incumbent, np.array([1.0, 1.0], np.float32), users, margin=0.0).accepted
    assert judge(candidate, incumbent, np.array([3.0, 1.0], np.float32), users, margin=0.0).accepted


def test_the_interval_is_of_users_and_repeats():
    incumbent, weights, users = losses()
    rng = np.random.default_rng(1)
    candidate = incumbent + rng.normal(0, 0.1, 50).astype(np.float32)[users]
    first, again = (judge(candidate, incumbent, weights, users, margin=0.0, seed=7) for _ in range(2))
    assert (first.low, first.high) == (again.low, again.high)
    assert first.low < first.difference < first.high
    many = judge(candidate, incumbent, weights, np.arange(400), margin=0.0)  # as if each example were its own user
    assert many.high - many.low < first.high - first.low


def test_losses_are_cross_entropies_of_graded_labels():
    logits = np.array([0.0, 2.0, -90.0], np.float32)
    labels = np.array([0.5, 0.25, 0.0], np.float32)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    expected = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    np.testing.assert_allclose(log_losses(logits, labels), expected, atol=1e-6)
