"""The content towers in Keras and NumPy, and one short real training."""

import numpy as np
import pytest

from model.content.examples import render_examples
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
    one, again = render_examples(render, 1, 5), render_examples(render, 1, 5)
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.sound, again.sound)
    assert not np.array_equal(one.frames[..., 0, :, :, :, :], one.frames[..., 1, :, :, :, :])


def test_halves_that_match_have_a_small_loss_and_others_a_large_one():
    from model.content.train import halves_loss

    matching = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    shifted = np.roll(matching, 1, axis=0)
    assert float(halves_loss(matching @ matching.T, 0.1)) < 0.01
    assert float(halves_loss(shifted @ shifted.T, 0.1)) > 5


def test_the_loss_of_creators_looks_at_other_scenes_alone():
    from model.content.train import creators_loss

    creators = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)  # two creators of two scenes of two halves
    scenes = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    assert float(creators_loss(creators @ creators.T, 0.1, 2, 2)) == pytest.approx(np.log(2), abs=0.01)
    assert float(creators_loss(scenes @ scenes.T, 0.1, 2, 2)) == pytest.approx(np.log(6), abs=0.01)


def test_a_short_training_helps_on_creators_never_seen_and_can_be_repeated():
    import keras

    from model.content.train import Recipe, augmented_sound, fit, held_out

    examples = render_examples(render, 14, 3).sound
    start = initial_weights(SOUND, 1)

    def train():
        keras.utils.set_random_seed(1)
        return fit(SOUND, start, examples[:8], 40, augmented_sound, 1, print, Recipe(creators=6))

    trained, again = train(), train()
    assert all(np.array_equal(trained[name], again[name]) for name in trained)
    before, after = (held_out(SOUND, one, examples[8:]) for one in (start, trained))
    assert after["creators"] + after["halves"] > before["creators"] + before["halves"]
