"""What a video looks, sounds and reads like, as vectors; by video, with their places in the `vectors` topic."""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated

import numpy as np
from msgspec import Meta

from streams.core.events import Id, Record, Word

#: Numbers of each vector, in the order in which they stand in the model's input.
SIZES = {"frames": 96, "sound": 64, "text": 32}
KEPT = 4  # records of one video; a look back further than so many changes finds nothing

Half = Annotated[bytes, Meta(max_length=2 * max(SIZES.values()))]  # float16, little-endian
Offset = Annotated[int, Meta(ge=0)]


class VideoContent(Record, frozen=True, gc=False):
    """The content vectors of a video, of length 1 each. Topic `vectors`, key `video_id`.

    Attributes:
      version: of the content model that made them.
      videos_offset: place in the `videos` topic of the record that they were made of.
      media_hash: SHA-256 of the media in hex; empty where it could not be read or there is none.
      frames, sound, text: float16, little-endian, [96], [64] and [32]; empty where the video has no such vector.
      reason: why the media gave neither frames nor sound; empty when there was nothing wrong.
      final: False while media that could not be read is still looked for again.
    """

    video_id: Id
    version: Word
    videos_offset: Offset
    media_hash: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    frames: Half = b""
    sound: Half = b""
    text: Half = b""
    reason: Word = ""
    final: bool = True

    def __post_init__(self) -> None:
        for name, size in SIZES.items():
            half = getattr(self, name)
            if len(half) not in (0, 2 * size):
                raise ValueError(f"{name} has {len(half)} bytes, not 0 or {2 * size}")
            if half and not np.isfinite(np.frombuffer(half, "<f2")).all():
                raise ValueError(f"{name} holds a value that is not finite")


History = tuple[tuple[int, VideoContent], ...]


class Contents:
    """The newest contents of every video, also of those whose own record has not been read yet.

    Args:
      most: videos kept beside those that `known` names; beyond it the ones heard of longest ago go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, History] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, offset: int, content: VideoContent, known: Container[str]) -> None:
        """Take in a record at `offset` of the `vectors` topic; offsets rise.

        Args:
          known: ids that are kept in any case.
        """
        before = self._of.pop(content.video_id, ())
        self._of[content.video_id] = (*before, (offset, content))[-KEPT:]
        if len(self._of) > 2 * self._most:
            spare = [one for one in self._of if one not in known]
            for one in spare[: max(0, len(spare) - self._most // 2)]:
                del self._of[one]

    def since(self, video_id: str) -> int:
        """Return the offset of the newest record of a video, -1 where there is none."""
        found = self._of.get(video_id)
        return found[-1][0] if found else -1

    def get(self, video_id: str, before: int) -> VideoContent | None:
        """Return what was known of a video before record `before` of the topic."""
        for offset, content in reversed(self._of.get(video_id, ())):
            if offset < before:
                return content
        return None


def encoded_half(vector: np.ndarray | None) -> bytes:
    """Return a vector as a record holds it; empty for None."""
    return b"" if vector is None else np.asarray(vector, "<f2").tobytes()
