import numpy as np
import pytest

from model.metrics import (
    MISS,
    auc,
    bootstrap_mean,
    grouped_auc,
    mrr_gains,
    ndcg_gains,
    rank_of,
    recall_gains,
)


def test_rank_counts_items_that_score_at_least_the_target():
    scores = np.array([0.9, 0.5, 0.5, 0.1], np.float32)
    assert [rank_of(scores, target) for target in range(4)] == [1, 3, 3, 4]


def test_a_constant_scorer_is_ranked_last():
    assert rank_of(np.zeros(7583, np.float32), 12) == 7583


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_a_miss(bad):
    scores = np.array([0.0, bad], np.float32)
    assert rank_of(scores, 1) == MISS


def test_gains_by_hand():
    ranks = np.array([1, 2, 10, 11, 20, 21, MISS])
    assert recall_gains(ranks).tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert mrr_gains(ranks) == pytest.approx([1, 1 / 2, 1 / 10, 1 / 11, 1 / 20, 0, 0])
    assert ndcg_gains(ranks) == pytest.approx([1, 1 / np.log2(3), 1 / np.log2(11), 0, 0, 0, 0])


def test_auc_by_hand_with_a_tie():
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    labels = np.array([0, 0, 1, 1])
    assert auc(scores, labels) == pytest.approx((1 + 0.5 + 1 + 1) / 4)  # pairs won, the tie by half


def test_auc_of_one_class_is_not_a_number():
    assert np.isnan(auc(np.array([0.1, 0.2]), np.array([1, 1])))


def test_grouped_auc_ignores_what_separates_users():
    scores = np.array([10.0, 11.0, 0.0, 1.0, 5.0])
    labels = np.array([0, 1, 1, 0, 1])
    groups = np.array([1, 1, 2, 2, 3])  # right within 1, wrong within 2, one class within 3
    assert grouped_auc(scores, labels, groups) == pytest.approx(0.5)


def test_bootstrap_draws_users_not_events():
    values = np.repeat([0.0, 1.0], 500)
    by_event = bootstrap_mean(values, np.arange(1000))
    by_user = bootstrap_mean(values, np.repeat(np.arange(10), 100))
    assert by_event.value == by_user.value == 0.5
    assert by_user.high - by_user.low > 3 * (by_event.high - by_event.low)


def test_bootstrap_repeats_itself():
    values, users = np.arange(50.0), np.arange(50) % 7
    assert bootstrap_mean(values, users, seed=3) == bootstrap_mean(values, users, seed=3)
