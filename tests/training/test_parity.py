"""NumPy and Keras: the same weights, loaded unchanged, give the same numbers."""

import numpy as np
import pytest

from model.config import ModelConfig
from model.features import content, features, residuals
from model.modalities import inputs, unpacked
from model.serving import NumpyScorer
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.tiles import product
from tests.versions import clip, grown, told

pytestmark = pytest.mark.training

CONFIGS = [
    ModelConfig(),
    ModelConfig(head="concat", hidden_size=16, embedding_size=8, category_size=4),
    ModelConfig(hidden_size=16, embedding_size=8, category_size=4, media=("frames", "text")),
]
USERS, STEPS = 70, 25


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


def gru(keras, config, weights):
    layer = keras.layers.GRU(config.hidden_size, reset_after=True, return_sequences=True)
    layer.build((None, None, config.input_size))
    layer.set_weights([weights["gru.kernel"], weights["gru.recurrent"], weights["gru.bias"]])
    return layer


def dense(keras, kernel, bias, activation="tanh"):
    layer = keras.layers.Dense(kernel.shape[1], activation=activation)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel, bias])
    return layer


def sequences(config):
    rng = np.random.default_rng(0)
    vectors = np.tanh(rng.normal(size=(USERS, STEPS, config.embedding_size))).astype(np.float32)
    return vectors, rng.uniform(0, 1, (USERS, STEPS, BEHAVIOUR_SIZE)).astype(np.float32)


def states(scorer, vectors, behaviour):
    """Hidden states [B, T, H] after each step of the stream's form."""
    hidden = np.zeros((USERS, scorer.hidden_size), np.float32)
    found = []
    for step in range(STEPS):
        hidden = scorer.step(hidden, vectors[:, step], behaviour[:, step])
        found.append(hidden)
    return np.stack(found, axis=1)


def linear(keras, config, weights, videos, contents):
    """What the video tower computes before its tanh."""
    found = dense(keras, weights["video.kernel"], weights["video.bias"], None)(content(features(videos), weights))
    if config.media:
        media = inputs(*unpacked(contents, len(videos)), config.media)
        found = found + keras.ops.matmul(media, weights["media.kernel"])
    return found


@pytest.mark.parametrize("config", CONFIGS)
def test_every_step_of_a_sequence_equals_keras(keras, config):
    weights = grown(config)
    vectors, behaviour = sequences(config)
    expected = np.asarray(gru(keras, config, weights)(np.concatenate([vectors, behaviour], axis=2)))
    found = states(NumpyScorer(weights, config, 1, 0), vectors, behaviour)
    assert np.abs(expected).max() > 0.5  # no state near zero, where anything would agree
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", CONFIGS)
def test_towers_equal_keras(keras, config):
    weights, videos = grown(config, videos=0), [clip(number) for number in range(100)]
    scorer = NumpyScorer(weights, config, 1, 0)
    contents = [told(number) for number in range(100)]
    expected = np.asarray(keras.ops.tanh(linear(keras, config, weights, videos, contents)))
    np.testing.assert_allclose(scorer.encode(videos, contents)[0], expected, atol=1e-6, rtol=0)
    hidden = np.random.default_rng(1).uniform(-1, 1, (USERS, config.hidden_size)).astype(np.float32)
    expected = np.asarray(dense(keras, weights["user.kernel"], weights["user.bias"])(hidden))
    np.testing.assert_allclose(scorer.users(hidden), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", CONFIGS)
def test_scores_from_events_to_sigmoid_equal_keras(keras, config):
    weights, videos = grown(config), [clip(number) for number in range(60)]
    vectors, behaviour = sequences(config)
    steps = np.concatenate([vectors, behaviour], axis=2)
    users = dense(keras, weights["user.kernel"], weights["user.bias"])(gru(keras, config, weights)(steps)[:, -1])
    found = features(videos)
    learned = residuals(found, weights)
    contents = [told(number) for number in range(60)]
    shown = keras.ops.tanh(linear(keras, config, weights, videos, contents) + learned[:, :-1])
    logits = keras.ops.matmul(users, weights["head.user"][:, None]) + weights["head.bias"]
    logits = logits + keras.ops.matmul(shown, weights["head.video"][:, None])[:, 0]
    if config.head == "interaction":
        crossed = keras.ops.matmul(keras.ops.matmul(users, weights["head.interaction"]), keras.ops.transpose(shown))
        logits = logits + crossed + learned[:, -1]
    scorer = NumpyScorer(weights, config, 1, 0)
    raw = product(scorer.queries(states(scorer, vectors, behaviour)[:, -1]), scorer.encode(videos, contents)[1])
    assert_equal_scores(raw, np.asarray(logits))


def assert_equal_scores(found, expected):
    """Logits are sums of products in float32: they agree to seven digits of the largest."""
    np.testing.assert_allclose(found, expected, atol=1e-6 * max(1.0, np.abs(expected).max()), rtol=0)
