"""A pretrained Keras application in place of the frames' tower, where one is set and its weights are given as a file.

Its features of each picture are pooled over time by their mean and maximum, and brought to the size of a frames' vector
by random projection, which keeps angles about as they are (Johnson and Lindenstrauss 1984) and needs no training.
Nothing is fetched: the weights are a file, and its SHA-256 is checked. TensorFlow is imported here and nowhere else in
ingest.

Axes: T pictures, S rows and columns, F features of the application.
"""

from __future__ import annotations

import sys
import warnings
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.content.towers import FRAMES
from streams.config import ConfigError
from streams.core.ports import Floats

SIZE = 192  # S: three times the towers', and among those that mobile applications are trained on
_PROJECTION_SEED = 11


class BackboneChoice(msgspec.Struct, frozen=True):
    """Which application.

    Attributes:
      name: as in `keras.applications`, for example MobileNetV3Small.
      path: its weights without the classifier: `.weights.h5`, or `.h5` as Keras publishes them (`..._no_top.h5`).
      sha256: of that file, in hex.
    """

    name: str
    path: Path
    sha256: str

    def version(self, towers: str) -> str:
        """Return the version of vectors made with this and the towers' version `towers`."""
        return sha256(f"{towers} {self.name} {self.sha256} {SIZE}".encode()).hexdigest()[:12]


class Backbone:
    """A Keras application with its weights.

    Raises:
      ConfigError: there is no such application, or the file is missing, another one, or does not fit.
    """

    def __init__(self, choice: BackboneChoice) -> None:
        _check_file(choice)
        build, self._prepare = _application(choice.name)
        try:
            self._net = build(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg")
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of layers that it found nothing for
                self._net.load_weights(choice.path)
        except (ValueError, TypeError, OSError, KeyError, UserWarning) as error:
            said = " ".join(str(error).split())[:300]
            raise ConfigError(f"content_backbone_weights: {choice.path} does not fit {choice.name}: {said}") from None
        self._net.trainable = False
        features = int(self._net.output_shape[-1])
        rng = np.random.default_rng([_PROJECTION_SEED, features])
        self._projection = rng.normal(size=(2 * features, FRAMES.size)).astype(np.float32)

    def __call__(self, frames: NDArray[np.uint8]) -> Floats:
        """Return the unit vector [FRAMES.size] of frames [T, S, S, 3], T from 1 to `FRAMES.pictures`."""
        pictures = np.zeros((FRAMES.pictures, SIZE, SIZE, 3), np.float32)  # always T
        pictures[: len(frames)] = frames
        features: Floats = self._net(self._prepare(pictures), training=False).numpy()[: len(frames)]
        vector = np.concatenate([features.mean(axis=0), features.max(axis=0)]) @ self._projection
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


def _check_file(choice: BackboneChoice) -> None:
    try:
        with choice.path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"content_backbone_weights: {choice.path} cannot be read ({error.strerror})") from None
    if found != choice.sha256:
        raise ConfigError(f"content_backbone_sha256: {choice.path} has {found}, not {choice.sha256 or 'nothing'}")


def _application(name: str) -> tuple[Any, Any]:
    """Return what builds an application, and what its pictures in [0, 255] are prepared with."""
    import keras

    builders = {key: value for key, value in vars(keras.applications).items() if key[0].isupper() and callable(value)}
    if name not in builders:
        raise ConfigError(f"content_backbone: {name} is none of {', '.join(sorted(builders))}")
    return builders[name], sys.modules[builders[name].__module__].preprocess_input
