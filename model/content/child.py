"""The decoder's process: `python -m model.content.child`. Reads requests on stdin, answers on stdout, ends with stdin.

A message is four bytes of length (little-endian), a MessagePack header, and the bytes that the header announces. The
process bounds its own memory, processor time and files before it touches media, so a hostile file ends this process
and nothing else.
"""

from __future__ import annotations

import io
import os
import resource
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EAGAIN, ENOMEM
from hashlib import sha256
from typing import BinaryIO, cast

import av
import av.logging
import msgspec

from model.content.media import BadMedia, Media, Reply, Request
from model.content.reading import read

_LENGTH = struct.Struct("<I")
_BLOCK = 1 << 20  # bytes
MEMORY_LIMIT = 3  # exit code: after running out of memory a process is not used again


def main(memory_mb: int) -> int:
    """Answer requests until stdin ends; returns the exit code."""
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    av.logging.set_level(av.logging.PANIC)
    _bound(memory_mb)
    decode = msgspec.msgpack.Decoder(Request).decode
    while head := requests.read(_LENGTH.size):
        request = decode(requests.read(*_LENGTH.unpack(head)))
        blob = requests.read(request.bytes)
        _bound_cpu(request.cpu_seconds)
        try:
            _send(replies, _answer(request, blob))
        except MemoryError:
            _send(replies, Reply(reason="memory-limit", detail=f"it needs more than {memory_mb} MB"))
            return MEMORY_LIMIT
    return 0


def _bound(memory_mb: int) -> None:
    bounds = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_AS, memory_mb << 20)]
    for which, bound in bounds:
        with suppress(ValueError, OSError):  # not every system has each of them
            resource.setrlimit(which, (bound, bound))


def _bound_cpu(seconds: int) -> None:
    """Allow so many more seconds of processor time; beyond them the system ends this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _answer(request: Request, blob: bytes) -> Reply | Media:
    try:
        with _opened(request, blob) as file:
            return _digest(file, request.megabytes << 20) if request.digest else read(file, request)
    except BadMedia as bad:
        return Reply(reason=bad.reason, detail=bad.detail)
    except OSError as error:
        if error.errno in (ENOMEM, EAGAIN):  # EAGAIN: no memory for the stack of a thread
            raise MemoryError from None
        return Reply(reason="damaged", detail=f"decoding failed: {error.strerror or error}"[:200])
    except (ValueError, ArithmeticError, LookupError, RuntimeError) as error:  # PyAV's, of a file that makes no sense
        return Reply(reason="damaged", detail=f"decoding failed: {error}"[:200])


@contextmanager
def _opened(request: Request, blob: bytes) -> Iterator[BinaryIO]:
    if not request.source:
        yield io.BytesIO(blob)
    elif "://" in request.source:
        with _remote(request) as file:
            yield file
    else:
        with _local(request.source) as file:
            yield file


def _digest(file: BinaryIO, most: int) -> Reply:
    """Return the SHA-256 of the media, read a block at a time."""
    found, count = sha256(), 0
    while block := file.read(_BLOCK):
        found.update(block)
        count += len(block)
        if count > most:
            raise BadMedia("too-large", f"more than {most >> 20} MB")
    if not count:
        raise BadMedia("empty", "there are no bytes in it")
    return Reply(digest=found.hexdigest())


def _local(path: str) -> BinaryIO:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise BadMedia("not-a-file", "it is a folder, a device or a pipe")
        return open(path, "rb")
    except FileNotFoundError:
        raise BadMedia("missing", "there is no such file") from None
    except PermissionError:
        raise BadMedia("no-permission", "this user may not read it") from None
    except BadMedia:
        raise
    except (OSError, ValueError) as error:
        raise BadMedia("missing", f"it cannot be opened: {error}") from None


def _remote(request: Request) -> BinaryIO:
    scheme = request.source.partition("://")[0].lower()
    if scheme not in request.schemes:
        raise BadMedia("scheme", f"addresses of kind {scheme!r} are not read; setting content_schemes allows them")
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(request.source)
        size = system.size(path) or 0
        if size > request.megabytes << 20:
            raise BadMedia("too-large", f"{size >> 20} MB, at most {request.megabytes} are read")
        return cast(BinaryIO, system.open(path, "rb"))
    except BadMedia:
        raise
    except FileNotFoundError:
        raise BadMedia("missing", "there is no such object") from None
    except PermissionError:
        raise BadMedia("no-permission", "this user may not read it") from None
    except MemoryError:
        raise
    except Exception as error:  # a driver may raise anything
        raise BadMedia("unreachable", f"it could not be opened: {type(error).__name__}: {error}") from None


def _send(out: BinaryIO, answer: Reply | Media) -> None:
    blobs: list[bytes] = []
    if isinstance(answer, Media):
        blobs = [answer.frames.tobytes(), answer.sound.tobytes()]
        answer = Reply(
            times_s=tuple(answer.times_s.tolist()), frames=len(answer.frames), patches=len(answer.sound),
            width=answer.width, height=answer.height, duration_s=answer.duration_s, decoded=answer.decoded,
        )  # fmt: skip
    head = msgspec.msgpack.encode(answer)
    out.write(_LENGTH.pack(len(head)) + head + b"".join(blobs))
    out.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
