"""The towers' weights on disk: a safetensors file (float16) with a manifest beside it that holds its SHA-256."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model.content.towers import TOWERS
from streams.config import ConfigError
from streams.core.ports import Floats

DEFAULT = Path(__file__).with_name("weights.safetensors")


class Manifest(msgspec.Struct, frozen=True):
    """What is known of a file of weights.

    Attributes:
      sha256: of the file; its first 12 digits name the version of the content model.
      command: what made it.
    """

    sha256: str
    command: str
    seed: int
    scenes: int
    steps: int
    figures: dict[str, float] = {}

    @property
    def version(self) -> str:
        """The name that vectors of these weights carry."""
        return self.sha256[:12]


def write_weights(path: Path, weights: dict[str, Floats], manifest: Manifest) -> Manifest:
    """Write weights and manifest; returns the manifest with the file's hash."""
    data = save({name: np.ascontiguousarray(value, np.float16) for name, value in sorted(weights.items())})
    manifest = msgspec.structs.replace(manifest, sha256=sha256(data).hexdigest())
    path.write_bytes(data)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return manifest


def read_weights(path: Path = DEFAULT) -> tuple[dict[str, Floats], Manifest]:
    """Read weights as float32, with their manifest.

    Raises:
      ConfigError: a file is missing, the hash or a shape is not what it must be.
    """
    mend = "run 'freshloop content train' to make them anew"
    try:
        data = path.read_bytes()
        manifest = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"the content weights in {path} cannot be read ({error}); {mend}") from None
    if sha256(data).hexdigest() != manifest.sha256:
        raise ConfigError(f"the content weights in {path} are not those of their manifest (SHA-256 differs); {mend}")
    try:
        weights = {name: value.astype(np.float32) for name, value in load(data).items()}
    except (SafetensorError, ValueError) as error:
        raise ConfigError(f"the content weights in {path} are damaged ({error}); {mend}") from None
    for tower in TOWERS:
        for name, shape in tower.shapes().items():
            if name not in weights or weights[name].shape != shape:
                raise ConfigError(f"the content weights in {path} do not fit this version ({name}); {mend}")
    return weights, manifest
