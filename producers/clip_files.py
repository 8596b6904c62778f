"""Rendered clips as MP4 files, encoded with PyAV."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.clips import Clip, frame, plan, sound
from producers.drawing import Floats

SOUND_RATE = 16_000


@dataclass(frozen=True)
class Rendered:
    """A clip whose frames, sound and file can be had.

    Attributes:
      height, width: of its file, in pixels, even.
      rate: frames per second of its file.
    """

    clip: Clip
    height: int = 144
    width: int = 192
    rate: int = 12

    def picture(self, t: float, height: int, width: int) -> Floats:
        """Return the frame at `t` seconds, [H, W, 3] float32 in [0, 1]."""
        return frame(self.clip, t, height, width)

    def sound(self, start_s: float, seconds: float) -> Floats:
        """Return sound [n] float32 in [-1, 1] at 16 kHz."""
        return sound(self.clip, start_s, seconds, SOUND_RATE)

    def mp4(self, with_sound: bool = True) -> bytes:
        """Return the clip as an MP4 file (H.264, AAC)."""
        count = max(round(self.clip.duration_s * self.rate), 1)
        pictures = (self.picture(number / self.rate, self.height, self.width) for number in range(count))
        wave = self.sound(0.0, self.clip.duration_s) if with_sound else None
        return encode((np.round(one * 255).astype(np.uint8) for one in pictures), self.rate, wave)


def render(topic: NDArray[np.floating[Any]], scene_seed: int, seed: int, duration_s: float) -> Rendered:
    """Return the clip of a topic [D]: place and people by `scene_seed`, what happens by `seed`."""
    return Rendered(plan(topic, scene_seed, seed, duration_s))


def encode(pictures: Any, rate: int, wave: Floats | None = None, file_format: str = "mp4") -> bytes:
    """Return a file of pictures (an iterable of uint8 [H, W, 3], even sizes) with `wave` [n] at 16 kHz as its sound."""
    import av  # late: only who renders files needs it

    out = io.BytesIO()
    with av.open(out, "w", format=file_format) as container:
        video: Any = container.add_stream(
            "libx264", rate=rate, options={"preset": "ultrafast", "crf": "23", "threads": "1"}
        )
        video.pix_fmt = "yuv420p"
        audio: Any = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if wave is not None else None
        for number, pixels in enumerate(pictures):
            if number == 0:
                video.height, video.width = pixels.shape[:2]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, rate)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if audio is not None and wave is not None:
            for start in range(0, len(wave), 1024):
                part = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return out.getvalue()
