"""The forms of the content towers that are measured say what the towers say."""

import numpy as np
import pytest

from benchmarks.content_forms import FORMS, Lite, converted
from model.content.nets import TowerNet
from model.content.serving import TowerForward
from model.content.towers import FRAMES, SOUND
from model.content.weights import read_weights

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("tower", "form", "least"), [(FRAMES, FORMS[0], 0.99999), (FRAMES, FORMS[2], 0.99), (SOUND, FORMS[1], 0.9999)]
)
def test_a_converted_tower_gives_nearly_the_same_vectors(tower, form, least):
    weights, _ = read_weights()
    own = {name: weights[name] for name in tower.shapes()}
    rng = np.random.default_rng(1)
    shape = (tower.pictures, tower.height, tower.width, tower.channels)
    some = [rng.uniform(-0.4, 0.5, shape).astype(np.float32) for _ in range(6)]
    lite, plain = Lite(tower, converted(TowerNet(tower, own), form, some[:4])), TowerForward(tower, own)
    for pictures in some[4:]:
        found = lite(pictures)
        assert found.shape == (tower.size,)
        assert plain(pictures) @ found / np.linalg.norm(found) > least
