"""Training pairs from rendered clips: two stretches of the same clip that share no moment.

Axes: S scenes, I clips of a scene, 2 halves, T pictures, then the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.content.media import PATCH_SAMPLES, SOUND_RATE
from model.content.sound import log_mel
from model.content.towers import FRAMES
from streams.core.ports import Floats

TOPIC_SIZE = 16
CLIPS_PER_SCENE = 4  # of one place and people, so that telling them apart takes what happens
PICTURES = 5  # of a half in training; serving looks at more
PATCHES = 2
HEARD = 2  # clips of a scene whose sound is rendered
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
class Pairs:
    """Rendered halves.

    Attributes:
      frames: uint8 [S, I, 2, PICTURES, size, size, 3].
      sound: float16 [S, HEARD, 2, PATCHES, ROWS, MELS, 1], log-mel.
    """

    frames: NDArray[np.uint8]
    sound: NDArray[np.float16]


def render_pairs(render: Renderer, scenes: int, seed: int, say: Say = lambda text: None) -> Pairs:
    """Render the two halves of `CLIPS_PER_SCENE` clips of each scene; a pure function of the seed."""
    size = FRAMES.height
    frames = np.zeros((scenes, CLIPS_PER_SCENE, 2, PICTURES, size, size, 3), np.uint8)
    sound = []
    rng = np.random.default_rng(seed)
    for scene in range(scenes):
        topic, shape = rng.normal(size=TOPIC_SIZE), _SHAPES[int(rng.integers(len(_SHAPES)))]
        for number in range(CLIPS_PER_SCENE):
            duration_s = float(rng.uniform(1.5, 6.0))
            clip = render(topic, seed * 1_000_003 + scene, number, duration_s)
            for half in (0, 1):
                moments = (half + (np.arange(PICTURES) + rng.random(PICTURES)) / PICTURES) * duration_s / 2
                for at, t in enumerate(moments):
                    frames[scene, number, half, at] = boxed(clip.picture(float(t), *shape), size)
                if number < HEARD:
                    sound.append(_patches(clip, half, duration_s, rng))
        if scene % 50 == 49:
            say(f"rendered {scene + 1} of {scenes} scenes")
    mel = np.stack(sound).astype(np.float16)
    return Pairs(frames, mel.reshape(scenes, HEARD, 2, *mel.shape[1:]))


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
