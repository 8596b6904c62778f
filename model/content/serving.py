"""The content towers in NumPy: what serves. No TensorFlow, no threads; one clip at a time, so its bits are its own.

Axes: T pictures, H rows, W columns, C channels, F features of a picture, A attention heads, D size of the vector.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model.content.towers import CENTRE, EPSILON, Tower
from streams.core.ports import Floats

Weights = dict[str, Floats]


def pictures_of(frames: NDArray[np.uint8]) -> Floats:
    """Return the input of the frames' tower [T, S, S, 4] of frames [T, S, S, 3].

    Colours in [0, 1] less CENTRE, and as a fourth channel the motion: twice the mean absolute change from the frame
    before (of the first frame, to the one after), which is what a CNN on single frames cannot see.
    """
    colours = frames.astype(np.float32) / np.float32(255.0)
    motion = np.zeros((*frames.shape[:3], 1), np.float32)
    if len(frames) > 1:
        change = np.abs(np.diff(colours, axis=0)).mean(axis=-1, keepdims=True, dtype=np.float32)
        motion[1:], motion[:1] = change, change[:1]
    return np.concatenate([colours - np.float32(CENTRE), 2 * motion], axis=-1)


class TowerForward:
    """A tower's forward pass.

    Args:
      weights: of this tower at least, by name, float32.

    Raises:
      ValueError: a weight is missing or has another shape; the message names it.
    """

    def __init__(self, tower: Tower, weights: Weights) -> None:
        self.tower = tower
        for name, shape in tower.shapes().items():
            if name not in weights or weights[name].shape != shape:
                found = weights[name].shape if name in weights else "nothing"
                raise ValueError(f"weight {name} must have the shape {shape}, found {found}")
        own = {name.partition(".")[2]: weights[name].astype(np.float32) for name in tower.shapes()}
        self._w = own
        self._kernels = [
            np.ascontiguousarray(own[f"conv{n}.kernel"].transpose(2, 0, 1, 3)).reshape(-1, out)
            for n, (_, _, out) in enumerate(tower.convolutions)
        ]

    def __call__(self, pictures: Floats) -> Floats:
        """Return the unit vector [D] of pictures [t, H, W, C], t from 1 to T."""
        w, count = self._w, len(pictures)
        features = np.maximum(self.seen(pictures) @ w["picture.kernel"] + w["picture.bias"], 0)[:count]
        logits = features @ w["attention.kernel"]
        share = np.exp(logits - logits.max(axis=0))
        share /= share.sum(axis=0)
        pooled = np.concatenate([share.T @ features, features.max(axis=0)[None]])
        vector = pooled.reshape(-1) @ w["vector.kernel"]
        return np.asarray(vector / max(float(np.sqrt(vector @ vector)), 1e-6), np.float32)

    def seen(self, pictures: Floats) -> Floats:
        """Return what the features are made of [T, n]: the last convolution, flattened, and the colour counts.

        Rows beyond the pictures are padding.
        """
        tower, w = self.tower, self._w
        count = len(pictures)
        if not 1 <= count <= tower.pictures or pictures.shape[1:] != (tower.height, tower.width, tower.channels):
            raise ValueError(f"{tower.name}: [1..{tower.pictures}, {tower.height}, ...], not {pictures.shape}")
        x = np.zeros((tower.pictures, *pictures.shape[1:]), np.float32)  # always T: one shape, one order of sums
        x[:count] = pictures
        for number, (size, stride, _) in enumerate(tower.convolutions):
            x = _convolve(x, self._kernels[number], size, stride)
            x = _normalise(x, w[f"conv{number}.scale"], w[f"conv{number}.offset"])
        if tower.mean_rows:
            x = x.mean(axis=1, dtype=np.float32)
        x = np.maximum(x @ w["squeeze.kernel"] + w["squeeze.bias"], 0)
        seen = np.zeros((tower.pictures, len(w["picture.kernel"])), np.float32)
        flat = seen.shape[1] - tower.colour_features()
        seen[:, :flat] = x.reshape(len(x), -1)
        if tower.colours:
            seen[:count, flat:] = colour_counts(pictures, tower.colours)
        return seen


def colour_counts(pictures: Floats, colours: tuple[tuple[int, int], ...]) -> Floats:
    """Return the roots of the shares of each colour in each cell [T, sum of bins^3 cells^2] of pictures [T, S, S, 4].

    For each pair of bins per colour and cells per side, one after the other; the squares of a pair sum up to 1.
    """
    levels = np.clip(np.rint((pictures[..., :3] + np.float32(CENTRE)) * 255), 0, 255).astype(np.int64)
    count, size = pictures.shape[:2]
    parts = []
    for bins, cells in colours:
        place = np.arange(size) * cells // size
        cell = place[:, None] * cells + place[None, :]
        code = (levels * bins // 256) @ np.array([bins * bins, bins, 1])
        index = (np.arange(count)[:, None, None] * cells * cells + cell) * bins**3 + code
        found = np.bincount(index.ravel(), minlength=count * cells * cells * bins**3)
        parts.append(np.sqrt(found.reshape(count, -1) / np.float32(size * size)).astype(np.float32))
    return np.concatenate(parts, axis=1)


def _convolve(x: Floats, kernel: Floats, size: int, stride: int) -> Floats:
    """Return the convolution [T, H', W', C'] of [T, H, W, C], padded as TensorFlow's SAME."""
    pads = [(0, 0)]
    for length in x.shape[1:3]:
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(x, [*pads, (0, 0)])
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    out = windows.reshape(-1, len(kernel)) @ kernel
    return np.asarray(out.reshape(*windows.shape[:3], -1), np.float32)


def _normalise(x: Floats, scale: Floats, offset: Floats) -> Floats:
    """Return x normalised over its channels, scaled, shifted and rectified."""
    x -= x.mean(axis=-1, keepdims=True)
    x *= 1 / np.sqrt(np.einsum("...c,...c->...", x, x)[..., None] / x.shape[-1] + np.float32(EPSILON))
    x *= scale
    x += offset
    return np.maximum(x, 0, out=x)
