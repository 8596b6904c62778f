"""Decoding in a process of its own that may crash, hang or run out of memory without taking the caller along."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import msgspec
import numpy as np

from model.content.media import PATCH_SAMPLES, REASONS, BadMedia, Limits, Media, Reply, Request
from model.content.towers import FRAMES, SOUND

COMMAND = (sys.executable, "-m", "model.content.child")
_LENGTH = struct.Struct("<I")
_HEAD_BYTES = 64 * 1024  # a reply's header is under 1 kB
_decode = msgspec.msgpack.Decoder(Reply).decode

WHOLE = (0.0, 1.0)


class Decoder:
    """Samples media in a process that is started when needed, used again between files, and replaced when it fails.

    Not for several threads at once: each takes its own.

    Args:
      command: what is run, with the memory limit in MB as its last argument; the tests give others.
      size: S, rows and columns of the frames.
    """

    def __init__(
        self, limits: Limits | None = None, command: Sequence[str] = COMMAND, size: int = FRAMES.height
    ) -> None:
        self.limits, self.size = limits or Limits(), size
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __call__(self, media: str | Path | bytes, window: tuple[float, float] = WHOLE) -> Media:
        """Return what was sampled from a file, an fsspec address (with `://`) or bytes.

        Args:
          window: the part of the clip to look at, as shares of its length.

        Raises:
          BadMedia: there is no vector for it; `reason` says why.
        """
        answer = self._answer(media, window)
        assert isinstance(answer, Media)
        return answer

    def digest(self, media: str | Path | bytes) -> str:
        """Return the SHA-256 of media in hex; what can be read is bounded as in decoding.

        Raises:
          BadMedia: it cannot be read.
        """
        answer = self._answer(media, WHOLE, digest=True)
        assert isinstance(answer, str)
        return answer

    def _answer(self, media: str | Path | bytes, window: tuple[float, float], digest: bool = False) -> Media | str:
        blob = media if isinstance(media, bytes) else b""
        if isinstance(media, bytes) and not blob:
            raise BadMedia("empty", "there are no bytes in it")
        if len(blob) > self.limits.megabytes << 20:
            raise BadMedia("too-large", f"{len(blob) >> 20} MB, at most {self.limits.megabytes} are read")
        request = Request(
            source="" if blob else str(media), bytes=len(blob), window=window, size=self.size,
            pictures=FRAMES.pictures, patches=SOUND.pictures, cpu_seconds=self.limits.cpu_seconds,
            megabytes=self.limits.megabytes, schemes=self.limits.schemes, digest=digest,
        )  # fmt: skip
        try:
            return self._ask(request, blob)
        except BadMedia:
            raise
        except BaseException:  # Ctrl-C: what comes out of the pipe next would be this file's
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                cast(BinaryIO, pipe).close()

    def _ask(self, request: Request, blob: bytes) -> Media | str:
        deadline = time.monotonic() + self.limits.seconds
        process = self._running()
        head = msgspec.msgpack.encode(request)
        self._write(process, memoryview(_LENGTH.pack(len(head)) + head + blob), deadline)
        (length,) = _LENGTH.unpack(self._read(process, _LENGTH.size, deadline))
        if length > _HEAD_BYTES:
            raise self._crash(process, "its answer makes no sense")
        try:
            reply = _decode(self._read(process, length, deadline))
        except msgspec.MsgspecError:
            raise self._crash(process, "its answer makes no sense") from None
        if reply.reason:
            if reply.reason == "memory-limit":
                self.close()
            raise BadMedia(reply.reason if reply.reason in REASONS else "damaged", reply.detail)
        if request.digest:
            return reply.digest
        if not (0 <= reply.frames == len(reply.times_s) <= request.pictures and 0 <= reply.patches <= request.patches):
            raise self._crash(process, "its answer makes no sense")
        shape = (reply.frames, request.size, request.size, 3)
        frames = np.frombuffer(self._read(process, int(np.prod(shape)), deadline), np.uint8).reshape(shape)
        sound = np.frombuffer(self._read(process, reply.patches * PATCH_SAMPLES * 4, deadline), np.float32)
        return Media(
            frames, np.array(reply.times_s, np.float64), sound.reshape(reply.patches, PATCH_SAMPLES),
            reply.width, reply.height, reply.duration_s, reply.decoded,
        )  # fmt: skip

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._process = subprocess.Popen(
            [*self._command, str(self.limits.memory_mb)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            start_new_session=True,  # Ctrl-C is for the caller, who ends it
        )  # fmt: skip
        os.set_blocking(cast(BinaryIO, self._process.stdin).fileno(), False)
        self.started += 1
        return self._process

    def _write(self, process: subprocess.Popen[bytes], data: memoryview, deadline: float) -> None:
        pipe = cast(BinaryIO, process.stdin)
        while data:
            _, ready, _ = select.select([], [pipe], [], max(deadline - time.monotonic(), 0.0))
            if not ready:
                raise self._late()
            try:
                data = data[os.write(pipe.fileno(), data[: 1 << 20]) :]
            except BrokenPipeError:
                raise self._crash(process, "its process ended") from None

    def _read(self, process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        pipe = cast(BinaryIO, process.stdout)
        parts = bytearray()
        while len(parts) < size:
            ready, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0.0))
            if not ready:
                raise self._late()
            part = os.read(pipe.fileno(), min(size - len(parts), 1 << 20))
            if not part:
                raise self._crash(process, "its process ended")
            parts += part
        return bytes(parts)

    def _late(self) -> BadMedia:
        self.close()
        return BadMedia("time-limit", f"decoding took more than {self.limits.seconds:g} s")

    def _crash(self, process: subprocess.Popen[bytes], how: str) -> BadMedia:
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        code = process.returncode
        self.close()
        if code is not None and -code in (24, 9) and how == "its process ended" and -code == 24:
            return BadMedia("time-limit", f"decoding took more than {self.limits.cpu_seconds} s of processor time")
        return BadMedia("crashed", f"the decoder failed on it: {how} ({code})")
