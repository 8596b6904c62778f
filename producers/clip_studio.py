"""The clip of each video of the simulated studio: what one sees and hears follows from what the video is about.

A creator has a place of its own, so that its clips look alike; the video's latent topic decides the rest. The record
of the video shows nothing of it but the file.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from producers.clip_files import Rendered
from producers.clips import plan

SECONDS = 2.0  # a clip stands for its video, however long that is said to be
HEIGHT, WIDTH, RATE = 72, 96, 8


def clip_of(topic: NDArray[np.floating[Any]], author_id: str, number: int) -> Rendered:
    """Return the clip of video `number` about a topic [D], at its creator's place."""
    return Rendered(plan(topic, crc32(author_id.encode()), number, SECONDS), HEIGHT, WIDTH, RATE)
