"""Statistics of numeric features: learned online, carried by versions, and what they change."""

import numpy as np
import pytest

from model.catalogue import Catalogue
from model.features import content, features
from model.serving import NumpyScorer
from model.standard import FURTHEST, LEAST, MEMORY, SMALLEST, STANDARD, Moments, moved, standardised
from model.weights import WeightsError, check, from_bytes, to_bytes
from tests.versions import SMALL, clip, grown

STATED = np.array([[500.0], [0.6], [0.15]], np.float32)


def durations(count, seed=0, scale=0.7):
    return [
        clip(number, duration_ms=int(ms))
        for number, ms in enumerate(15_000 * np.exp(scale * np.random.default_rng(seed).normal(size=count)))
    ]


def numbers(videos):
    return features(videos)["numbers"]


@pytest.mark.parametrize("size", [1, 7, 200])
def test_by_batches_they_are_those_of_all_at_once(size):
    found, videos = Moments.empty(), durations(200)
    for at in range(0, 200, size):
        found.add(numbers(videos[at : at + size]))
    column = numbers(videos)[:, 0].astype(np.float64)
    np.testing.assert_allclose(found.array()[:, 0], [200, column.mean(), column.std()], rtol=1e-5)


def test_nothing_is_said_of_a_few_videos_and_a_tiny_spread_is_not_made_large():
    found = Moments.empty()
    found.add(numbers(durations(LEAST - 1)))
    assert found.array() is None
    found = Moments.empty()
    found.add(numbers(durations(LEAST, scale=0.0)))
    assert found.array()[2, 0] == pytest.approx(SMALLEST)


def test_a_change_of_supply_is_followed():
    found = Moments.empty()
    found.add(np.zeros((3 * MEMORY, 4), np.float32))
    for _ in range(20):
        found.add(np.ones((MEMORY // 4, 4), np.float32))
    assert found.array()[1, 0] > 0.95


def test_a_changed_video_is_no_new_one():
    catalogue, videos = Catalogue(), durations(50)
    catalogue.add(videos)
    before = catalogue.moments.array()
    catalogue.add(videos[:20])
    catalogue.add([clip(3, duration_ms=999_000), clip(3, duration_ms=1)])
    assert np.array_equal(catalogue.moments.array(), before)
    catalogue.add([clip(60), clip(60)])
    assert catalogue.moments.count == 51


def test_what_is_published_later_does_not_change_what_a_version_carries():
    catalogue = Catalogue()
    catalogue.add(durations(50))
    carried = catalogue.moments.array()
    kept = carried.copy()
    catalogue.add([clip(number, duration_ms=900_000) for number in range(100, 150)])
    assert np.array_equal(carried, kept)
    assert not np.array_equal(catalogue.moments.array(), kept)


def test_measured_numbers_are_standardised_and_bounded_and_kinds_stay():
    plain = numbers([clip(1, duration_ms=15_000), clip(2, duration_ms=2**50)])
    found = standardised(plain, STATED)
    assert found[0, 0] == pytest.approx((np.log1p(15) / 5 - 0.6) / 0.15, abs=1e-5)
    assert found[1, 0] == FURTHEST
    assert np.array_equal(found[:, 1:], plain[:, 1:])
    assert standardised(plain, None) is plain


def test_a_version_without_statistics_sees_what_it_always_saw():
    found = features(durations(5))
    assert np.array_equal(content(found, grown())[:, -4:], found["numbers"])
    assert np.array_equal(content(found, grown() | {STANDARD: STATED})[:, -4:], standardised(found["numbers"], STATED))


@pytest.mark.parametrize("old", [None, np.array([[40.0], [0.4], [0.3]], np.float32)])
def test_when_statistics_move_the_model_says_the_same(old):
    videos, weights = durations(30), grown()
    weights |= {} if old is None else {STANDARD: old}
    start = 3 * SMALL.category_size
    kernel = weights["video.kernel"].copy()
    rows, bias = moved(kernel[start : start + 1], weights["video.bias"], old, STATED)
    kernel[start] = rows[0]
    after = weights | {"video.kernel": kernel, "video.bias": bias, STANDARD: STATED}
    before, again = (NumpyScorer(one, SMALL, 1, 0).encode(videos) for one in (weights, after))
    np.testing.assert_allclose(again[0], before[0], atol=2e-6)
    np.testing.assert_allclose(again[1], before[1], atol=2e-6)
    back = moved(rows, bias, STATED, old)
    np.testing.assert_allclose(back[0][0], weights["video.kernel"][start], atol=1e-5)
    np.testing.assert_allclose(back[1], weights["video.bias"], atol=1e-5)


def test_weights_with_statistics_and_without_can_serve_and_no_division_by_nothing():
    check(grown(), SMALL)
    check(from_bytes(to_bytes(grown() | {STANDARD: STATED})), SMALL)
    with pytest.raises(WeightsError, match="divided"):
        check(grown() | {STANDARD: STATED * np.float32([[1], [1], [0]])}, SMALL)
    with pytest.raises(WeightsError, match="shape"):
        check(grown() | {STANDARD: STATED[:2]}, SMALL)
