"""Content vectors of the clips of a simulated world: rendered, written as MP4, decoded and embedded; kept on disk.

python -m benchmarks.clip_vectors --seed 1 --videos 2000 --folder FOLDER
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model.content.decoder import Decoder
from model.content.encoder import ContentEncoder
from model.content.text import SIZE as TEXT
from model.content.towers import FRAMES, SOUND
from model.content.weights import read_weights
from producers.catalogue import Catalogue
from producers.clip_studio import clip_of
from producers.parameters import load_parameters
from streams.core.ports import Floats

PART = 100  # videos of a file


class ClipVectors:
    """Vectors by video number of the world of a seed, made when they are asked for first.

    Args:
      say: told of progress.
    """

    def __init__(self, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        weights, manifest = read_weights()
        self._folder = folder / f"{manifest.version}-{seed}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._say = say
        self._encoder = ContentEncoder(weights, Decoder())
        self._parts: dict[int, Floats] = {}

    def __call__(self, catalogue: Catalogue, number: int, author_id: str, title: str) -> Floats:
        """Return the vectors [96 + 64 + 32] of one video: frames, sound and text."""
        part = self._parts.get(number // PART)
        if part is None:
            path = self._path(number)
            size = FRAMES.size + SOUND.size + TEXT
            part = np.load(path) if path.exists() else np.full((PART, size), np.nan, np.float32)
            self._parts[number // PART] = part
        row: Floats = part[number % PART]
        if np.isnan(row[0]):
            found = self._encoder(clip_of(catalogue.vectors[number], author_id, number).mp4(), title)
            vectors = (found.frames, found.sound, found.text)
            sizes = (FRAMES.size, SOUND.size, TEXT)
            row[:] = np.concatenate(
                [np.zeros(n, np.float32) if one is None else one for one, n in zip(vectors, sizes, strict=True)]
            )
            if number % PART == PART - 1:
                self._say(f"{number + 1} clips rendered and embedded")
                self.save(number)
        return row

    def save(self, number: int) -> None:
        """Keep the part that a video is in."""
        np.save(self._path(number), self._parts[number // PART])

    def _path(self, number: int) -> Path:
        return self._folder / f"{number // PART:05d}.npy"


def main() -> None:
    """Make the vectors of a world's first videos."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    parameters = load_parameters()
    catalogue = Catalogue(parameters.catalogue, parameters.dimension, given.seed)
    vectors = ClipVectors(given.folder, given.seed, lambda text: print(text, file=sys.stderr, flush=True))
    for number, video in enumerate(catalogue.open(given.videos, 0)):
        vectors(catalogue, number, video.author_id, video.title)


if __name__ == "__main__":
    main()
