"""Media and title to vectors: decoder, towers and text put together. The one way in for whoever needs content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.content.decoder import WHOLE, Decoder
from model.content.media import BadMedia, Media
from model.content.serving import TowerForward, Weights, pictures_of
from model.content.sound import log_mel
from model.content.text import initial_rows, text_vector
from model.content.towers import FRAMES, SOUND
from streams.core.ports import Floats

TEXT_SEED = 7


@dataclass(frozen=True)
class Content:
    """The vectors of one item, of length 1 each; None is a modality that it does not have.

    Attributes:
      frames: [FRAMES.size].
      sound: [SOUND.size].
      text: [text.SIZE].
      reason, detail: why the media gave neither frames nor sound; empty when there was nothing wrong.
    """

    frames: Floats | None
    sound: Floats | None
    text: Floats | None
    reason: str = ""
    detail: str = ""


class ContentEncoder:
    """Encodes items with one version of the content model.

    Args:
      weights: of both towers, as `model.content.weights.read_weights` gives.
      decoder: samples the media.
      frames: pictures [T, S, S, 3] to a unit vector [FRAMES.size], in place of the frames' tower.
    """

    def __init__(
        self, weights: Weights, decoder: Decoder, frames: Callable[[NDArray[np.uint8]], Floats] | None = None
    ) -> None:
        tower = TowerForward(FRAMES, weights)
        self._frames = frames or (lambda frames: tower(pictures_of(frames)))
        self._sound = TowerForward(SOUND, weights)
        self._text = weights.get("text.rows", initial_rows(TEXT_SEED))
        self._decoder = decoder

    def __call__(
        self, media: str | Path | bytes | None, title: str = "", window: tuple[float, float] = WHOLE
    ) -> Content:
        """Return the vectors of an item; bad media leave a reason instead of an exception."""
        text = self.of_text(title)
        if media is None:
            return Content(None, None, text)
        try:
            sampled = self._decoder(media, window)
        except BadMedia as bad:
            return Content(None, None, text, bad.reason, bad.detail)
        return Content(self.of_frames(sampled), self.of_sound(sampled), text)

    def of_text(self, title: str) -> Floats | None:
        """Return the vector of a title."""
        return text_vector(title, self._text)

    def of_frames(self, media: Media) -> Floats | None:
        """Return the vector of the frames."""
        return self._frames(media.frames) if len(media.frames) else None

    def of_sound(self, media: Media) -> Floats | None:
        """Return the vector of the sound."""
        return self._sound(log_mel(media.sound)) if len(media.sound) else None
