"""Shapes, limbs and textures painted onto a picture. Axes: H rows, W columns; colours are RGB in [0, 1].

Coordinates are in heights of the picture from its centre, x to the right and y down, so a circle stays one whatever the
aspect; a picture spans [-0.5, 0.5] in y and [-W/2H, W/2H] in x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """A regular star or polygon.

    Attributes:
      radius: of its outer corners.
      corners: how many; 24 look like a circle.
      spike: 0 is a polygon, towards 1 a star with thin arms.
      stretch: width over height.
    """

    radius: float
    corners: int
    spike: float
    stretch: float = 1.0


@dataclass(frozen=True)
class Texture:
    """A pattern that blends a second colour in.

    Attributes:
      frequency: waves per height of the picture.
      angle: of the waves, in radians.
      checker: 0 are stripes, 1 a chess board.
      strength: share of the second colour where the pattern is full.
    """

    frequency: float
    angle: float
    checker: float
    strength: float


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """Return the RGB colour [3] of a hue (unitless, wraps at 1), saturation and value."""
    wheel = np.abs(((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1.0) * 6.0 - 3.0) - 1.0
    return np.asarray(value * (1.0 - saturation * (1.0 - np.clip(wheel, 0.0, 1.0))), np.float32)


class Picture:
    """A canvas that shapes are painted onto, one over the other.

    Attributes:
      pixels: float32 [H, W, 3] in [0, 1].
    """

    def __init__(self, pixels: Floats) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def shape(
        self,
        at: tuple[float, float],
        shape: Shape,
        turn: float,
        colour: Floats,
        texture: Texture | None = None,
        second: Floats | None = None,
    ) -> None:
        """Paint a shape with its centre at `at`, turned by `turn` radians."""
        reach = shape.radius * max(shape.stretch, 1.0)
        box, x, y = self._box(at[0] - reach, at[1] - reach, at[0] + reach, at[1] + reach)
        if box is None:
            return
        dx, dy = (x - at[0]) / shape.stretch, y - at[1]
        distance = np.hypot(dx, dy)
        phase = ((np.arctan2(dy, dx) - turn) * shape.corners / (2 * np.pi)) % 1.0
        side = np.cos(np.pi / shape.corners) / np.cos((phase - 0.5) * 2 * np.pi / shape.corners)
        edge = shape.radius * side * (1.0 - shape.spike * (1.0 - np.abs(2.0 * phase - 1.0)))
        paint = colour if texture is None or second is None else _blend(x - at[0], y - at[1], colour, texture, second)
        self._cover(box, edge - distance, paint)

    def limb(self, start: tuple[float, float], end: tuple[float, float], width: float, colour: Floats) -> None:
        """Paint a line with round ends from `start` to `end`."""
        half = width / 2
        (x0, y0), (x1, y1) = start, end
        box, x, y = self._box(min(x0, x1) - half, min(y0, y1) - half, max(x0, x1) + half, max(y0, y1) + half)
        if box is None:
            return
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0.0, 1.0)
        self._cover(box, half - np.hypot(x - x0 - along * dx, y - y0 - along * dy), colour)

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[tuple[slice, slice] | None, Floats, Floats]:
        """Return the part of the picture that a rectangle covers, with its coordinates [h, 1] and [1, w]."""
        height, width = self.height, self.width
        left, right = (int(np.floor(x * height + width / 2)) for x in (x0, x1))
        top, bottom = (int(np.floor((y + 0.5) * height)) for y in (y0, y1))
        columns = slice(max(left - 1, 0), min(right + 2, width))
        rows = slice(max(top - 1, 0), min(bottom + 2, height))
        x = (np.arange(columns.start, max(columns.stop, columns.start), dtype=np.float32) + 0.5 - width / 2) / height
        y = (np.arange(rows.start, max(rows.stop, rows.start), dtype=np.float32) + 0.5) / height - 0.5
        box = (rows, columns) if len(x) and len(y) else None
        return box, x[None, :], y[:, None]

    def _cover(self, box: tuple[slice, slice], inside: NDArray[np.floating[Any]], paint: Floats) -> None:
        """Blend `paint` over the box where `inside` (heights of the picture, at least 0 inside) says so."""
        share = np.clip(inside * self.height + 0.5, 0.0, 1.0)[:, :, None].astype(np.float32)
        part = self.pixels[box]
        part += share * (paint - part)


def _blend(
    x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], colour: Floats, texture: Texture, second: Floats
) -> Floats:
    """Return a textured paint [h, w, 3] for coordinates [1, w] and [h, 1]."""
    cos, sin = np.cos(texture.angle), np.sin(texture.angle)
    wave = 2 * np.pi * texture.frequency
    along, across = np.sin(wave * (x * cos + y * sin)), np.sin(wave * (y * cos - x * sin))
    pattern = (1.0 - texture.checker) * along + texture.checker * np.sign(along * across)
    share = (texture.strength * (0.5 + 0.5 * pattern)).astype(np.float32)[:, :, None]
    return np.asarray(colour + share * (second - colour), np.float32)


def backdrop(
    height: int, width: int, colours: tuple[Floats, Floats], texture: Texture, clouds: Floats, cloudiness: float
) -> Floats:
    """Return a background [H, W, 3]: a texture of two colours, with soft clouds [c, c] of light and dark over it."""
    x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height)[None, :]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5)[:, None]
    ground = _blend(x, y, colours[0], texture, colours[1])
    return np.clip(ground + cloudiness * _stretch(clouds, height, width)[:, :, None], 0.0, 1.0)


def _stretch(small: Floats, height: int, width: int) -> Floats:
    """Return a picture [h, w] enlarged to [H, W], linearly."""
    for axis, size in ((0, height), (1, width)):
        at = np.linspace(0.0, small.shape[axis] - 1.001, size)
        low = at.astype(int)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        small = np.take(small, low, axis) * (1 - part) + np.take(small, low + 1, axis) * part
    return small
