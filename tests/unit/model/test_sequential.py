import numpy as np
import pytest

from model.sequential import LEVEL, Mean, Tally, gap


def looks(seed, effect=0.0, users=120, rounds=25):
    """Yield what is seen at each of many looks at two groups of users whose labels hang together."""
    rng = np.random.default_rng(seed)
    sides = Tally(), Tally()
    taste = rng.beta(2, 3, (2, users))
    for _ in range(rounds):
        for side, tally in enumerate(sides):
            for user in rng.integers(0, users, users // 2).tolist():
                label = min(1.0, max(0.0, rng.normal(taste[side, user] + effect * side, 0.3)))
                tally.add(f"u{user}", label)
        yield gap(sides[1].mean(), sides[0].mean())


def test_a_comparison_of_the_same_is_quiet_however_often_it_is_looked_at():
    alarms = [any(found.settled for found in looks(seed)) for seed in range(120)]
    assert np.mean(alarms) <= LEVEL + 0.02


def test_a_real_difference_is_found_with_its_sign():
    for effect in (-0.25, 0.25):
        found = [next((one for one in looks(seed, effect) if one.settled), None) for seed in range(10)]
        assert sum(one is not None for one in found) >= 8
        assert all(one is None or np.sign(one.value) == np.sign(effect) for one in found)


def test_a_correction_replaces_and_does_not_count():
    tally = Tally()
    tally.add("a", 0.0)
    tally.add("b", 1.0)
    tally.add("a", 0.5, 0)
    found = tally.mean()
    assert (found.labels, found.users) == (2, 2)
    assert found.value == pytest.approx(0.75)


def test_the_variance_is_by_users_and_not_by_labels():
    once, often = Tally(), Tally()
    for user in range(50):
        label = float(user % 2)
        once.add(f"u{user}", label)
        for _ in range(20):
            often.add(f"u{user}", label)  # nothing new about the users
    assert often.mean().variance == pytest.approx(once.mean().variance)


@pytest.mark.parametrize("one", [Mean(), Mean(0.5, float("inf"), 3, 1), Mean(0.5, 0.0, 10, 5)])
def test_too_little_settles_nothing(one):
    found = gap(one, one)
    assert (found.low, found.high, found.settled) == (float("-inf"), float("inf"), False)
