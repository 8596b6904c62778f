import numpy as np
import pytest

from streams.config import ConfigError, load_settings
from streams.configured import step_config
from streams.core.hashing import seeds_of
from streams.core.logits import Given
from streams.core.ranking import Policy, rank, rank_tiles


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


@pytest.mark.parametrize("short", ["bits", "authors", "minimum", "seeds", "kinds"])
def test_an_array_that_is_too_short_is_refused(short):
    arrays = {
        "bits": np.full((2, 2), 255, np.uint8), "authors": np.arange(9), "minimum": np.ones(2, np.int64),
        "seeds": seeds_of(0, np.arange(2)), "kinds": np.zeros(9, np.int64),
    }  # fmt: skip
    arrays[short] = arrays[short][:, :-1] if short == "bits" else arrays[short][:-1]
    with pytest.raises(ValueError, match="2 slates of 9 videos want more"):
        rank_tiles(Given(np.zeros((2, 9), np.float32)), count=9, policy=Policy(), **arrays)


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


def by_score(logits, policy, rows=40_000, allowed=None):
    """Slates of many events that rest on the same logits."""
    allowed = np.ones(len(logits), bool) if allowed is None else allowed
    same = np.tile(np.asarray(logits, np.float32), (rows, 1))
    return rank(same, np.tile(allowed, (rows, 1)), np.arange(len(logits)), policy, seeds_of(4, np.arange(rows)))


def test_what_is_drawn_by_score_comes_as_often_as_its_propensity_says():
    policy = Policy(size=5, minimum=5, author_cap=9, exploration=0.2, temperature=0.7)
    logits, allowed = np.linspace(1.0, -2.0, 12), np.arange(12) != 3
    ranked = by_score(logits, policy, allowed=allowed)
    wanted = np.exp(logits / 0.7) * allowed
    wanted /= wanted.sum()
    rows, positions = np.nonzero(ranked.explored)
    assert len(rows) == 40_000  # one of five positions, in each slate
    assert np.bincount(positions) / 40_000 == pytest.approx(0.2, abs=0.01)
    found = ranked.slots[rows, positions]
    assert np.bincount(found, minlength=12) / 40_000 == pytest.approx(wanted, abs=0.008)
    np.testing.assert_allclose(ranked.chance[rows], 0.2 * wanted[found], rtol=1e-5)
    assert (np.sort(ranked.slots, axis=1)[:, 1:] != np.sort(ranked.slots, axis=1)[:, :-1]).all()
    assert (ranked.count == 5).all()


def test_a_drawn_video_of_the_best_moves_and_the_others_close_up():
    policy = Policy(size=3, minimum=3, author_cap=9, exploration=1 / 3, temperature=0.1)
    ranked = by_score([4.0, 3.0, -2.0, -3.0], policy, 200)
    first = np.flatnonzero(ranked.explored[:, 2] & (ranked.slots[:, 2] == 0))
    assert len(first)
    assert (ranked.slots[first] == [1, 2, 0]).all()
    assert (ranked.logits[first] == [3.0, -2.0, 4.0]).all()


def test_a_low_temperature_keeps_to_the_best_and_a_high_one_to_none():
    policy = Policy(size=2, minimum=2, author_cap=9, exploration=0.5, temperature=0.001)
    cold = by_score(np.linspace(2, 0, 50), policy, 300)
    assert (cold.slots[cold.explored] == 0).all()
    hot = by_score(np.linspace(2, 0, 50), Policy(2, 2, 0.05, 9, 0.5, None, 1e6), 300)
    assert len(np.unique(hot.slots[hot.explored])) > 40
    np.testing.assert_allclose(hot.chance[hot.explored.any(axis=1)], 0.5 / 50, rtol=1e-4)


@pytest.mark.parametrize("logits", [[], [np.nan, -np.inf]])
def test_nothing_is_drawn_by_score_where_nothing_may_be(logits):
    ranked = by_score(logits, Policy(size=2, minimum=2, exploration=0.5, temperature=1.0), 20)
    assert not ranked.explored.any()
    assert (ranked.count == 0).all()


def test_exploration_by_boltzmann_takes_one_position_at_most():
    found = step_config(load_settings(exploration_by="boltzmann", exploration=0.05, temperature=2.0)).policy
    assert (found.temperature, found.exploration) == (2.0, 0.05)
    assert step_config(load_settings(temperature=2.0)).policy.temperature == 0.0
    with pytest.raises(ConfigError, match="one position"):
        load_settings(exploration_by="boltzmann", exploration=0.1)
