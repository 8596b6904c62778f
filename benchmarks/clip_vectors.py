"""Content vectors of the clips of a simulated world: rendered, written as MP4, decoded and embedded; kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.content.decoder import Decoder
from model.content.encoder import ContentEncoder
from model.content.weights import read_weights
from producers.catalogue import Catalogue
from producers.clip_studio import clip_of
from streams.core.content import VideoContent, encoded_half
from streams.core.events import Video
from streams.core.hashing import key64

_KEPT_EVERY = 100  # clips made since the file was written


class ClipVectors:
    """Contents of videos of simulated worlds, made when they are asked for first.

    Args:
      folder: where a file for each content model lies.
      say: told of progress.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        weights, manifest = read_weights()
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._version, self._say = folder / f"{manifest.version}.npz", manifest.version, say
        self._decoder = Decoder()
        self._encoder = ContentEncoder(weights, self._decoder)
        self._known: dict[int, tuple[NDArray[np.float16], ...]] = {}
        self._unsaved = 0
        if self._path.exists():
            with np.load(self._path) as kept:
                rows = zip(kept["keys"].tolist(), kept["frames"], kept["sound"], strict=True)
                self._known = {key: (frames, sound) for key, frames, sound in rows}

    def close(self) -> None:
        """Save what was made, and end the decoder."""
        self._decoder.close()
        if self._unsaved:
            frames, sound = (np.stack([one[at] for one in self._known.values()]) for at in (0, 1))
            np.savez(self._path, keys=np.array(list(self._known), np.int64), frames=frames, sound=sound)
            self._unsaved = 0

    def __call__(self, catalogue: Catalogue, video: Video) -> VideoContent:
        """Return the content of a video of a catalogue; the record of the video alone gives the text."""
        number = catalogue.number(video.video_id)
        topic = catalogue.vectors[number]
        key = key64(sha256(topic.tobytes() + f"{video.author_id} {number}".encode()).hexdigest())
        if key not in self._known:
            found = self._encoder(clip_of(topic, video.author_id, number).mp4())
            assert found.frames is not None
            assert found.sound is not None
            self._known[key] = found.frames.astype(np.float16), found.sound.astype(np.float16)
            self._unsaved += 1
            if self._unsaved % _KEPT_EVERY == 0:
                self._say(f"{self._unsaved} clips rendered, decoded and embedded")
        frames, sound = self._known[key]
        return VideoContent(
            video_id=video.video_id, version=self._version, videos_offset=0, frames=encoded_half(frames),
            sound=encoded_half(sound), text=encoded_half(self._encoder.of_text(video.title)),
        )  # fmt: skip
