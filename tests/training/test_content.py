"""The content towers in Keras and NumPy, and one short real training."""

import numpy as np
import pytest

from model.content.examples import render_pairs
from model.content.serving import TowerForward, pictures_of
from model.content.towers import SOUND, TOWERS, initial_weights
from producers.clip_files import render

pytestmark = pytest.mark.training


def inputs(tower, count, rng):
    if tower is SOUND:
        return rng.normal(size=(count, tower.height, tower.width, 1)).astype(np.float32)
    return pictures_of(rng.integers(0, 256, (count, 64, 64, 3)).astype(np.uint8))


def moved(tower, seed):
    """Weights with nothing at its initial value, the attention included."""
    rng = np.random.default_rng(seed)
    start = initial_weights(tower, seed)
    return {name: (value + 0.05 * rng.normal(size=value.shape)).astype(np.float32) for name, value in start.items()}


@pytest.mark.parametrize("tower", TOWERS, ids=lambda tower: tower.name)
@pytest.mark.parametrize("count", [1, 5])
def test_numpy_serves_what_keras_trains(tower, count):
    import tensorflow as tf

    from model.content.nets import TowerNet

    weights = moved(tower, 2)
    pictures = inputs(tower, count, np.random.default_rng(count))
    padded = np.zeros((1, tower.pictures, *pictures.shape[1:]), np.float32)
    padded[0, :count] = pictures
    mask = np.arange(tower.pictures)[None] < count
    net = TowerNet(tower, weights)
    expected = net((tf.constant(padded), tf.constant(mask))).numpy()[0]
    assert TowerForward(tower, weights)(pictures) == pytest.approx(expected, abs=2e-5)
    exported = net.export()
    assert all(np.array_equal(exported[name], weights[name]) for name in weights)


def test_examples_are_the_same_for_a_seed_and_halves_share_no_frame():
    one, again = render_pairs(render, 2, 5), render_pairs(render, 2, 5)
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.sound, again.sound)
    assert not np.array_equal(one.frames[:, :, 0], one.frames[:, :, 1])


def test_the_loss_is_small_for_pairs_that_match_and_large_for_others():
    from model.content.train import info_nce

    matching = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    assert float(info_nce(matching, 0.1)) < 0.01
    assert float(info_nce(np.roll(matching, 1, axis=0), 0.1)) > 5


def test_a_short_training_lowers_the_loss_and_can_be_repeated():
    import keras

    from model.content.train import Recipe, augmented_sound, fit, held_out

    examples = render_pairs(render, 10, 3).sound
    start, losses = initial_weights(SOUND, 1), []

    def train():
        keras.utils.set_random_seed(1)
        recipe = Recipe(scenes=8, clips=2, rate=3e-3)
        return fit(SOUND, start, examples, 50, augmented_sound, 1, losses.append, recipe)

    trained, again = train(), train()
    assert all(np.array_equal(trained[name], again[name]) for name in trained)
    assert held_out(SOUND, trained, examples) > held_out(SOUND, start, examples)
