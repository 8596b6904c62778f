"""The clips of the simulated studio: what one sees and hears follows from what a video is about.

A creator has a place of its own, so that its clips look alike; the latent topic decides the rest. The record of a
video shows nothing of it but the file. A shelf holds a bounded number of clips, and a video takes the one nearest to
its topic.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from producers.catalogue import Floats, unit
from producers.clip_files import Rendered
from producers.clips import plan
from streams.config import ConfigError

SECONDS = 2.0  # a clip stands for its video, however long that is said to be
HEIGHT, WIDTH, RATE = 72, 96, 8
SHELF = 200  # rendered clips
_ENDINGS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi"})


def clip_of(topic: NDArray[np.floating[Any]], author_id: str, number: int) -> Rendered:
    """Return the clip of video `number` about a topic [D], at its creator's place."""
    return Rendered(plan(topic, crc32(author_id.encode()), number, SECONDS), HEIGHT, WIDTH, RATE)


class Shelf:
    """Clips in files, each about a topic.

    Args:
      topics: [N, D], of length 1.
    """

    def __init__(self, paths: list[Path], topics: Floats) -> None:
        self._paths, self._topics = [str(path.absolute()) for path in paths], topics

    def __call__(self, topic: Floats) -> str:
        """Return the file whose topic is nearest to a topic [D]."""
        return self._paths[int(np.argmax(self._topics @ topic))]


def rendered(folder: Path, topics: Floats, authors: list[str], say: Callable[[str], None]) -> Shelf:
    """Return a shelf of clips that are rendered for topics [N, D] and creators [N]; files that are there are kept.

    Raises:
      ConfigError: the folder cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (topic, author) in enumerate(zip(topics, authors, strict=True)):
            name = sha256(topic.tobytes() + f"{author} {number}".encode()).hexdigest()[:16]
            paths.append(folder / f"{name}.mp4")
            if not paths[-1].exists():
                beside = paths[-1].with_suffix(".new")
                beside.write_bytes(clip_of(topic, author, number).mp4())
                beside.replace(paths[-1])
            if (number + 1) % 50 == 0:
                say(f"{number + 1} of {len(topics)} clips are rendered")
    except OSError as error:
        raise ConfigError(f"clips cannot be written to {folder} (--render): {error.strerror}") from None
    return Shelf(paths, topics)


def recorded(folder: Path, dimension: int) -> Shelf:
    """Return a shelf of the clips in a folder; each gets a topic of its own, which its name decides.

    Raises:
      ConfigError: there are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise ConfigError(f"there are no clips in {folder} (--clips); {', '.join(sorted(_ENDINGS))} are read")
    draws = [np.random.default_rng(crc32(path.name.encode())).normal(size=dimension) for path in paths]
    return Shelf(paths, unit(np.stack(draws)))
