"""What is asked of the decoder and what it gives: sampled frames and excerpts of sound, or a short stable reason."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

SOUND_RATE = 16_000  # samples per second
PATCH_SAMPLES = 15_600  # 0.975 s: 96 windows of 400 samples, 160 apart

#: Why a file gave no vector. Short, stable, safe to count by.
REASONS = (
    "empty",  # zero bytes
    "missing",  # no such file
    "no-permission",
    "not-a-file",  # a folder, a device, a pipe
    "scheme",  # an address of a kind that the settings do not allow
    "unreachable",  # object storage did not give it
    "too-large",  # more bytes than are read
    "not-media",  # no container that is read
    "damaged",  # a container, but nothing in it could be decoded
    "no-streams",  # neither pictures nor sound in it
    "time-limit",
    "memory-limit",
    "crashed",  # the decoder's process died of it
)


class BadMedia(ValueError):
    """Media without a vector.

    Attributes:
      reason: one of `REASONS`.
      detail: one bounded sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail[:300]


@dataclass(frozen=True)
class Limits:
    """Bounds of one decoding.

    Attributes:
      seconds: wall time; the process is ended after it.
      cpu_seconds: processor time of one file.
      memory_mb: address space of the process, its libraries (about 300) included.
      megabytes: most bytes read of one file.
      schemes: kinds of address (`s3`, `https`) that may be read; plain paths and bytes always may.
    """

    seconds: float = 20.0
    cpu_seconds: int = 15
    memory_mb: int = 2048
    megabytes: int = 512
    schemes: tuple[str, ...] = ("file", "memory", "s3", "gs", "az", "abfs")


class Request(msgspec.Struct, frozen=True):
    """What the process is asked; the bytes of the media follow when `source` is empty.

    Attributes:
      window: the part of the clip to look at, as shares of its length.
      size, pictures: S and T of the frames.
      patches: P, most excerpts of sound.
      digest: only the SHA-256 of the media is wanted.
    """

    source: str
    bytes: int
    window: tuple[float, float]
    size: int
    pictures: int
    patches: int
    cpu_seconds: int
    megabytes: int
    schemes: tuple[str, ...]
    digest: bool = False


class Reply(msgspec.Struct, frozen=True):
    """What the process answers; the arrays' bytes follow. A `reason` means that there are none."""

    reason: str = ""
    detail: str = ""
    times_s: tuple[float, ...] = ()
    frames: int = 0
    patches: int = 0
    width: int = 0
    height: int = 0
    duration_s: float = 0.0
    decoded: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Media:
    """What was sampled from a clip.

    Attributes:
      frames: uint8 [T, S, S, 3] RGB, upright, aspect kept, centred on black; T is 0 where there are no pictures.
      times_s: float64 [T], when each is shown.
      sound: float32 [P, PATCH_SAMPLES] in [-1, 1] at `SOUND_RATE`, one channel; P is 0 where there is no sound.
      width, height: of the clip, upright, in pixels; 0 without pictures.
      duration_s: as the container says or as found; 0 when not known.
      decoded: pictures that were decoded to choose from, the work done.
    """

    frames: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    sound: NDArray[np.float32]
    width: int
    height: int
    duration_s: float
    decoded: int
