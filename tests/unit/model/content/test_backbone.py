"""A Keras application in place of the frames' tower, with random weights that the test saves."""

import json
import os
import subprocess
import sys
import warnings
from hashlib import sha256

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from model.content.backbone import SIZE, Backbone, BackboneChoice
from producers.clip_files import render
from streams.config import ConfigError
from streams.main import app

pytestmark = pytest.mark.training
NAME = "MobileNetV3Small"


@pytest.fixture(scope="module")
def choice(tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "some.weights.h5"
    keras.utils.set_random_seed(3)
    build = getattr(keras.applications, NAME)
    net = build(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's variables do not know NumPy 2's copy keyword
        net.save_weights(path)
    return BackboneChoice(NAME, path, sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def backbone(choice):
    return Backbone(choice)


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(2)
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(render(rng.normal(size=16), number, 1, 2.0).mp4())
    return sorted(map(str, tmp_path.glob("*.mp4")))


def frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 12])
def test_a_vector_has_the_size_of_a_frames_vector_and_length_one(backbone, count):
    vector = backbone(frames(count))
    assert vector.shape == (96,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_the_same_weights_give_the_same_vectors_in_another_process_and_other_frames_others(backbone, choice):
    assert np.array_equal(backbone(frames(5)), Backbone(choice)(frames(5)))
    assert not np.array_equal(backbone(frames(5)), backbone(frames(5, 1)))


def test_the_version_names_towers_application_and_file(choice):
    other = BackboneChoice("MobileNetV2", choice.path, choice.sha256)
    assert len({choice.version("a"), choice.version("b"), other.version("a")}) == 3
    assert len(choice.version("a")) == 12


def test_an_unknown_application_is_named_with_those_there_are(choice):
    with pytest.raises(ConfigError, match=r"content_backbone: MobileNetV9 is none of .*MobileNetV3Small"):
        Backbone(BackboneChoice("MobileNetV9", choice.path, choice.sha256))


def test_a_missing_file_another_hash_and_weights_that_do_not_fit_are_named(choice, tmp_path):
    with pytest.raises(ConfigError, match=r"content_backbone_weights: .*cannot be read"):
        Backbone(BackboneChoice(NAME, tmp_path / "none.h5", choice.sha256))
    with pytest.raises(ConfigError, match="content_backbone_sha256"):
        Backbone(BackboneChoice(NAME, choice.path, "0" * 64))
    with pytest.raises(ConfigError, match="does not fit MobileNetV2"):
        Backbone(BackboneChoice("MobileNetV2", choice.path, choice.sha256))
    nonsense = tmp_path / "a.weights.h5"
    nonsense.write_bytes(b"not HDF5")
    with pytest.raises(ConfigError, match="does not fit"):
        Backbone(BackboneChoice(NAME, nonsense, sha256(b"not HDF5").hexdigest()))


def test_embed_uses_the_backbone_of_the_settings(choice, clips):
    plain = json.loads(CliRunner().invoke(app, ["embed", *clips, "--json"]).stdout.splitlines()[-1])
    chosen = {"": choice.name, "_WEIGHTS": str(choice.path), "_SHA256": choice.sha256}
    settings = {f"FRESHLOOP_CONTENT_BACKBONE{name}": value for name, value in chosen.items()}
    command = [sys.executable, "-m", "streams.main", "embed", "--halves", *clips, "--json"]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["content_version"] == choice.version(plain["content_version"])
    assert set(found["ways"]) == {"trained", "untrained", "histogram"}
    assert found["halves_total"] == 3
