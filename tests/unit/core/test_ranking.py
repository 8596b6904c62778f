import numpy as np
import pytest

from streams.core.hashing import seeds_of
from streams.core.ranking import Policy, rank


def slate(logits, policy, allowed=None, authors=None, offset=0):
    row = np.asarray([logits], np.float32)
    allowed = np.ones_like(row, bool) if allowed is None else np.asarray([allowed], bool)
    authors = np.arange(row.shape[1]) if authors is None else np.asarray(authors)
    return rank(row, allowed, authors.astype(np.int64), policy, seeds_of(0, np.array([offset])))[0]


EXACT = Policy(size=3, minimum=0, threshold=0.5, author_cap=3, exploration=0.0)


def test_best_first_above_the_threshold():
    assert slate([0.1, 3.0, -1.0, 2.0], EXACT).slots.tolist() == [1, 3, 0]


def test_a_score_equal_to_the_threshold_is_not_recommended():
    assert slate([0.0, 1.0], EXACT).slots.tolist() == [1]


def test_minimum_is_filled_below_the_threshold():
    policy = Policy(size=3, minimum=2, threshold=0.5, author_cap=3, exploration=0.0)
    assert slate([-3.0, 1.0, -2.0], policy).slots.tolist() == [1, 2]


def test_ties_go_to_the_lower_slot():
    assert slate([1.0, 1.0, 1.0, 1.0], EXACT).slots.tolist() == [0, 1, 2]


def test_cap_per_author():
    policy = Policy(size=3, minimum=0, threshold=0.5, author_cap=1, exploration=0.0)
    assert slate([5.0, 4.0, 3.0, 2.0], policy, authors=[7, 7, 8, 7]).slots.tolist() == [0, 2]


def test_what_is_not_allowed_or_not_finite_is_never_there():
    result = slate([np.nan, np.inf, 2.0, 3.0], EXACT, allowed=[True, True, True, False])
    assert result.slots.tolist() == [2]


def test_an_empty_pool_gives_an_empty_slate():
    assert slate([], EXACT).slots.tolist() == []


def test_exploration_is_repeatable_and_knows_its_propensity():
    policy = Policy(size=10, minimum=10, threshold=0.5, author_cap=10, exploration=0.5)
    logits = np.linspace(4, -4, 200)
    first, again = slate(logits, policy, offset=9), slate(logits, policy, offset=9)
    assert first.slots.tolist() == again.slots.tolist()
    assert first.explored == again.explored
    assert first.explored
    assert len(set(first.slots.tolist())) == 10
    for position, chance in first.explored:
        assert first.slots[position] >= 10
        assert chance == pytest.approx(0.5 / 190)


def test_share_of_explored_positions():
    policy = Policy(size=20, minimum=20, threshold=0.5, author_cap=20, exploration=0.1)
    logits = np.tile(np.linspace(4, -4, 300).astype(np.float32), (500, 1))
    ranked = rank(logits, np.ones_like(logits, bool), np.arange(300), policy, seeds_of(3, np.arange(500)))
    share = sum(len(one.explored) for one in ranked) / (500 * 20)
    assert 0.08 < share < 0.12
