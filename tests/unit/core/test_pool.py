import numpy as np

from streams.core.hashing import key64
from streams.core.pool import FreshPool
from tests.fakes import FakeScorer, video


def test_a_video_is_fresh_until_its_age_is_reached():
    pool = FreshPool(4, fresh_ms=100, half_life_ms=10)
    pool.add([video(1, published_ms=50)])
    assert pool.fresh(149).tolist() == [True]
    assert pool.fresh(150).tolist() == [False]


def test_withdrawn_leaves_at_once_and_keeps_its_vector():
    pool = FreshPool(4, 100, 10)
    pool.add([video(1)])
    scorer = FakeScorer()
    before = pool.encoded(scorer).vectors[0].copy()
    assert pool.withdraw("v1")
    assert not pool.withdraw("unknown")
    assert pool.fresh(0).tolist() == [False]
    assert np.array_equal(pool.encoded(scorer).vectors[0], before)


def test_published_again_it_comes_back_in_the_same_slot():
    pool = FreshPool(4, 100, 10)
    pool.add([video(1), video(2)])
    pool.withdraw("v1")
    pool.add([video(1, published_ms=5)])
    assert pool.size == 2
    assert pool.fresh(0).tolist() == [True, True]


def test_full_pool_gives_away_the_slot_that_ended_first():
    pool = FreshPool(2, 100, 10)
    assert pool.add([video(1, 10), video(2, 0)]) == {0: 0, 1: 0}
    assert pool.add([video(3, 20)]) == {1: key64("v2")}
    assert pool.slot("v2") == -1
    assert pool.slot("v3") == 1


def test_later_videos_are_encoded_for_every_scorer():
    pool, one, two = FreshPool(8, 100, 10), FakeScorer(1), FakeScorer(2)
    pool.encoded(one), pool.encoded(two)
    pool.add([video(5)])
    assert pool.encoded(one).vectors[0].any()
    pool.forget_scorers({2})
    assert np.array_equal(pool.encoded(two).vectors[0], two.encode([video(5)])[0][0])


def test_popularity_decays_and_survives_rescaling():
    pool = FreshPool(4, 10**9, half_life_ms=10)
    pool.add([video(1), video(2)])
    pool.reward("v1", 1.0, 1_000_000)
    pool.reward("v2", 1.0, 1_000_010)
    assert pool.popularity[1] == 2 * pool.popularity[0]
    pool.reward("v1", 1.0, 1_100_000)
    assert np.isfinite(pool.popularity).all()
    assert pool.popularity[0] > pool.popularity[1]
    pool.reward("nobody", 1.0, 0)
