"""The scorer of a version against the formulas, one row at a time."""

import numpy as np
import pytest

from model.config import ModelConfig
from model.features import content, features, residuals
from model.gru import gru_step, sigmoid
from model.registry import initial_version
from model.serving import NumpyScorer
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.pool import FreshPool
from tests.versions import NAME, SMALL, clip, grown

CONCAT = ModelConfig(head="concat", hidden_size=8, embedding_size=4, category_size=3)


@pytest.mark.parametrize(("config", "width"), [(SMALL, 6), (CONCAT, 2)])
@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 130])
def test_shapes_and_dtypes(config, width, rows):
    scorer = NumpyScorer(grown(config), config, 3, 77)
    vectors, keys = scorer.encode([clip(number) for number in range(rows)])
    hidden = scorer.step(np.zeros((rows, 8), np.float32), vectors, np.ones((rows, BEHAVIOUR_SIZE), np.float32))
    queries = scorer.queries(hidden)
    assert [array.shape for array in (vectors, keys, hidden, queries)] == [
        (rows, 4), (rows, width), (rows, 8), (rows, width),
    ]  # fmt: skip
    assert {array.dtype for array in (vectors, keys, hidden, queries)} == {np.dtype(np.float32)}
    assert (scorer.version, scorer.trained_through, scorer.hidden_size, scorer.embedding_size) == (3, 77, 8, 4)


def test_vectors_are_tanh_of_content_and_residual():
    weights, videos = grown(videos=20), [clip(number) for number in range(30)]
    found = features(videos)
    raw = content(found, weights) @ weights["video.kernel"] + weights["video.bias"] + residuals(found, weights)[:, :4]
    np.testing.assert_allclose(NumpyScorer(weights, SMALL, 1, 0).encode(videos)[0], np.tanh(raw), atol=1e-6)


def test_user_vector_is_tanh_of_the_hidden_state():
    weights = grown()
    hidden = np.random.default_rng(0).normal(size=(70, 8)).astype(np.float32)
    expected = np.tanh(hidden @ weights["user.kernel"] + weights["user.bias"])
    np.testing.assert_allclose(NumpyScorer(weights, SMALL, 1, 0).users(hidden), expected, atol=1e-6)


def test_a_step_keeps_a_state_within_bounds_and_does_not_write_its_inputs():
    scorer, rng = NumpyScorer(grown(), SMALL, 1, 0), np.random.default_rng(0)
    hidden, vectors = rng.uniform(-1, 1, (10, 8)).astype(np.float32), rng.normal(size=(10, 4)).astype(np.float32)
    inputs = (100 * rng.normal(size=(10, BEHAVIOUR_SIZE))).astype(np.float32)
    for array in (hidden, vectors, inputs):
        array.flags.writeable = False
    assert (np.abs(scorer.step(hidden, vectors, inputs)) <= 1).all()


def test_sigmoid_at_its_ends():
    values = np.array([-1e30, -200, -20, 0, 20, 200, 1e30], np.float32)
    np.testing.assert_allclose(sigmoid(values), [0, 0, 2e-9, 0.5, 1, 1, 1], atol=1e-7)


def test_a_closed_update_gate_forgets_and_an_open_one_keeps():
    hidden, inputs = np.full((1, 2), 0.7, np.float32), np.zeros((1, 1), np.float32)
    kernel, recurrent = np.zeros((1, 6), np.float32), np.zeros((2, 6), np.float32)
    keeps = np.array([[50, 50, 0, 0, 0, 0], [0] * 6], np.float32)
    np.testing.assert_allclose(gru_step(hidden, inputs, kernel, recurrent, keeps), hidden)
    np.testing.assert_allclose(gru_step(hidden, inputs, kernel, recurrent, -keeps), 0)


def test_a_pool_takes_the_scorer():
    pool = FreshPool(64, 10**12, 1000)
    pool.add([clip(number, published_ms=1) for number in range(20)])
    scorer = initial_version(NAME, SMALL).scorer()
    assert pool.encoded(scorer).keys.shape == (64, 6)
    assert pool.encoded(scorer) is pool.encoded(scorer)
