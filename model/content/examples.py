"""Training examples from rendered clips, in two relations that need no truth about topics.

Two halves of one clip share no moment and belong together. Clips of one creator, in scenes of their own, belong
together more loosely; whose a clip is, a platform knows. The topic vector itself is never shown.

Axes: R creators, S scenes of each, I clips of a scene, 2 halves, T pictures, then the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.content.media import PATCH_SAMPLES, SOUND_RATE
from model.content.sound import log_mel
from model.content.towers import FRAMES, SOUND
from streams.core.ports import Floats

TOPIC_SIZE = 16
SCENES, CLIPS = 4, 2  # of a creator, of a scene: its clips differ in what happens alone
SPREAD = 0.3  # of a creator's scenes about the topic, relative to the topic's own spread
PICTURES, PATCHES = 5, 2  # of a half in training; serving looks at more
_SHAPES = ((48, 64), (36, 64), (64, 36), (64, 64))  # as a 4:3, wide, tall and square clip arrive after scaling

Say = Callable[[str], None]


class Rendered(Protocol):
    """A clip of the project's own making (see `producers.clip_files`)."""

    def picture(self, t: float, height: int, width: int) -> Floats:
        """Return the frame at `t` seconds, [H, W, 3] float32 in [0, 1]."""
        ...

    def sound(self, start_s: float, seconds: float) -> Floats:
        """Return sound [n] float32 in [-1, 1] at 16 kHz."""
        ...

    def mp4(self, with_sound: bool = True) -> bytes:
        """Return the clip as a file."""
        ...


#: Makes the clip of a topic [D], a scene's seed, its own seed and its length in seconds.
Renderer = Callable[[NDArray[np.floating[Any]], int, int, float], Rendered]


@dataclass(frozen=True)
class Examples:
    """Rendered halves.

    Attributes:
      frames: uint8 [R, S, I, 2, PICTURES, size, size, 3].
      sound: float16 [R, S, I, 2, PATCHES, ROWS, MELS, 1], log-mel.
    """

    frames: NDArray[np.uint8]
    sound: NDArray[np.float16]


def render_examples(render: Renderer, creators: int, seed: int, say: Say = lambda text: None) -> Examples:
    """Render the halves of `SCENES` x `CLIPS` clips of each creator; a pure function of the seed."""
    size = FRAMES.height
    frames = np.zeros((creators, SCENES, CLIPS, 2, PICTURES, size, size, 3), np.uint8)
    sound = np.zeros((creators, SCENES, CLIPS, 2, PATCHES, SOUND.height, SOUND.width, 1), np.float16)
    rng = np.random.default_rng(seed)
    for creator in range(creators):
        topic = rng.normal(size=TOPIC_SIZE)
        for scene in range(SCENES):
            near = topic + SPREAD * rng.normal(size=TOPIC_SIZE)
            scene_seed, shape = int(rng.integers(1 << 30)), _SHAPES[int(rng.integers(len(_SHAPES)))]
            for number in range(CLIPS):
                duration_s = float(rng.uniform(1.5, 6.0))
                clip = render(near, scene_seed, number, duration_s)
                for half in (0, 1):
                    at = (creator, scene, number, half)
                    moments = (half + (np.arange(PICTURES) + rng.random(PICTURES)) / PICTURES) * duration_s / 2
                    frames[at] = [boxed(clip.picture(float(t), *shape), size) for t in moments]
                    sound[at] = _patches(clip, half, duration_s, rng)
        if creator % 25 == 24:
            say(f"rendered {creator + 1} of {creators} creators")
    return Examples(frames, sound)


def boxed(pixels: Floats, size: int) -> NDArray[np.uint8]:
    """Return a picture [h, w, 3] in [0, 1], centred on black, [S, S, 3]."""
    out = np.zeros((size, size, 3), np.uint8)
    high, wide = pixels.shape[:2]
    top, left = (size - high) // 2, (size - wide) // 2
    out[top : top + high, left : left + wide] = np.round(pixels * 255)
    return out


def _patches(clip: Rendered, half: int, duration_s: float, rng: np.random.Generator) -> Floats:
    starts = (half + rng.random(PATCHES) * 0.7) * max(duration_s, 2.0) / 2
    loudness = rng.uniform(0.3, 1.0)
    waves = [clip.sound(float(start), PATCH_SAMPLES / SOUND_RATE) * loudness for start in starts]
    return log_mel(np.stack(waves).astype(np.float32))
