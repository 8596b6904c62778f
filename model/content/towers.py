"""The form of a content tower: a small CNN on each picture of a sequence, pooled over time with attention and maximum.

One form serves frames (pictures in time) and sound (patches of a spectrogram in time). Axes: T pictures, H rows,
W columns, C channels, F features of a picture, A attention heads, D size of the vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.core.ports import Floats

EPSILON = 1e-3  # of the channel normalisation
CENTRE = 0.45  # of the colours [0, 1], taken off


@dataclass(frozen=True)
class Tower:
    """Sizes of a tower.

    Attributes:
      name: prefix of its weights.
      pictures: T, at most; fewer are padded and masked.
      height, width, channels: H, W, C of a picture.
      convolutions: kernel size, stride and channels of each layer; each is followed by a channel norm and a ReLU.
      squeeze: channels after a last 1x1 convolution, before the picture is flattened.
      mean_rows: the rows are averaged before that, where their place says nothing (time, in a spectrogram).
      colours: bins per colour and cells per side of colour counts that a picture's features also see: a convolution
        normalises channels, and with them most of what a histogram keeps.
      features, heads, size: F, A, D.
    """

    name: str
    pictures: int
    height: int
    width: int
    channels: int
    convolutions: tuple[tuple[int, int, int], ...]
    squeeze: int
    mean_rows: bool
    features: int
    heads: int
    size: int
    colours: tuple[tuple[int, int], ...] = ()

    def grid(self) -> tuple[int, int]:
        """Return rows and columns of the last convolution's output."""
        rows, columns = self.height, self.width
        for _, stride, _ in self.convolutions:
            rows, columns = -(-rows // stride), -(-columns // stride)
        return rows, columns

    def colour_features(self) -> int:
        """Return how many of a picture's inputs are colour counts."""
        return sum(bins**3 * cells**2 for bins, cells in self.colours)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight, in the order of the computation."""
        shapes: dict[str, tuple[int, ...]] = {}
        channels = self.channels
        for number, (kernel, _, out) in enumerate(self.convolutions):
            shapes[f"{self.name}.conv{number}.kernel"] = (kernel, kernel, channels, out)
            shapes[f"{self.name}.conv{number}.scale"] = (out,)
            shapes[f"{self.name}.conv{number}.offset"] = (out,)
            channels = out
        rows, columns = self.grid()
        flat = (1 if self.mean_rows else rows) * columns * self.squeeze + self.colour_features()
        shapes[f"{self.name}.squeeze.kernel"] = (channels, self.squeeze)
        shapes[f"{self.name}.squeeze.bias"] = (self.squeeze,)
        shapes[f"{self.name}.picture.kernel"] = (flat, self.features)
        shapes[f"{self.name}.picture.bias"] = (self.features,)
        shapes[f"{self.name}.attention.kernel"] = (self.features, self.heads)
        shapes[f"{self.name}.vector.kernel"] = ((self.heads + 1) * self.features, self.size)
        return shapes


FRAMES = Tower(
    name="frames", pictures=12, height=64, width=64, channels=4,
    convolutions=((3, 2, 16), (3, 2, 32), (3, 2, 48)),
    squeeze=16, mean_rows=False, features=96, heads=4, size=96, colours=((8, 1), (4, 4)),
)  # fmt: skip
SOUND = Tower(
    name="sound", pictures=8, height=96, width=40, channels=1,
    convolutions=((5, 2, 16), (3, 2, 32), (3, 2, 48)),
    squeeze=24, mean_rows=True, features=64, heads=4, size=64,
)  # fmt: skip
TOWERS = (FRAMES, SOUND)


def initial_weights(tower: Tower, seed: int) -> dict[str, Floats]:
    """Return untrained weights: He-normal kernels, scales of 1, the rest 0."""
    rng = np.random.default_rng([seed, sum(tower.name.encode())])
    weights = {}
    for name, shape in tower.shapes().items():
        kind = name.rpartition(".")[2]
        if kind == "kernel":
            value = rng.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[:-1]))
            value *= not name.endswith("attention.kernel")  # at first every picture counts the same
        else:
            value = np.full(shape, float(kind == "scale"))
        weights[name] = value.astype(np.float32)
    return weights
