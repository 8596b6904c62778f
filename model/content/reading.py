"""Decoding with PyAV: sampled frames and sound of one open file. Runs in the decoder's process, see `child`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from errno import ENOMEM
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from model.content.media import PATCH_SAMPLES, SOUND_RATE, BadMedia, Media, Request
from model.content.sampling import Plan, Thinned, affordable_pictures, choose, patch_starts, plan

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,wav,mp3,aac,flac,"
    "png_pipe,jpeg_pipe,webp_pipe,h264,hevc,mpegvideo,ivf"
)  # no playlists: they name other files and addresses
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none", "probesize": "2000000"}
_MAGIC = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV\x01", b"ID3", b"GIF8", b"\x89PNG", b"fLaC")
_SOUND_READ_S = 12.0  # sound of a clip up to this length is read whole
_SCALER = VideoReformatter()  # kept: making one for each frame costs four times as much as scaling it
_PACKETS = 20_000  # of one pass, so that a file of nothing but rubbish ends

Pictures = list[tuple[float, NDArray[np.uint8]]]


class Nameless:
    """A file whose name FFmpeg does not see, so that its content alone says what it is."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def read(file: BinaryIO, request: Request) -> Media:
    """Return what was sampled from an open, seekable file.

    Raises:
      BadMedia: `empty`, `not-media`, `damaged` or `no-streams`.
    """
    head = file.read(16)
    file.seek(0)
    if not head:
        raise BadMedia("empty", "there are no bytes in it")
    try:
        container = av.open(Nameless(file), options=_OPTIONS, metadata_errors="ignore")
    except (av.FFmpegError, ValueError, UnicodeDecodeError) as error:
        known = head.startswith(_MAGIC) or head[4:8] == b"ftyp"
        reason = ("damaged", "it begins as a container") if known else ("not-media", "it is no video or sound")
        raise BadMedia(reason[0], f"{reason[1]}, but cannot be opened ({_words(error)})") from None
    with container:
        return _read(container, request)


def _read(container: Any, request: Request) -> Media:
    video = next((one for one in container.streams.video if not _is_cover(one) and one.codec_context), None)
    audio = next((one for one in container.streams.audio if one.codec_context), None)
    if video is None and audio is None:
        raise BadMedia("no-streams", "there are neither pictures nor sound in it")
    duration_s = _duration(container, video or audio)
    pictures, decoded, shape = _pictures(container, video, duration_s, request) if video else ([], 0, (0, 0))
    if pictures and not duration_s:
        duration_s = pictures[-1][0]
    sound = _sound(container, audio, duration_s, request) if audio else np.zeros((0, PATCH_SAMPLES), np.float32)
    pictures = _inside(pictures, duration_s, request.window)
    if not pictures and not len(sound):
        raise BadMedia("damaged", "nothing in it could be decoded")
    times = np.array([time for time, _ in pictures], np.float64)
    size = request.size
    frames = np.stack([one for _, one in pictures]) if pictures else np.zeros((0, size, size, 3), np.uint8)
    chosen = choose(times, frames, request.pictures)
    return Media(frames[chosen], times[chosen], sound, shape[0], shape[1], duration_s, decoded)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _duration(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return max(float(stream.duration * stream.time_base), 0.0)
    return max((container.duration or 0) / av.time_base, 0.0)


def _inside(pictures: Pictures, duration_s: float, window: tuple[float, float]) -> Pictures:
    if window == (0.0, 1.0) or not duration_s:
        return pictures
    low, high = (share * duration_s for share in window)
    return [one for one in pictures if low <= one[0] < high or (window[1] >= 1.0 and one[0] >= high)]


def _pictures(
    container: Any, stream: Any, duration_s: float, request: Request
) -> tuple[Pictures, int, tuple[int, int]]:
    """Return the candidate pictures in order of time, how many were decoded, and the upright size."""
    context = stream.codec_context
    context.thread_count = 1
    pixels = max(context.width * context.height, 1)
    todo = plan(duration_s, float(stream.average_rate or 0), pixels, request.window)
    if todo.keys_only:
        context.skip_frame = "NONKEY"
    most = affordable_pictures(pixels)
    found = _seek(container, stream, todo, request) if todo.targets_s else _straight(container, stream, most, request)
    if not found[0] and todo.targets_s:  # an index that leads nowhere
        container.seek(0)
        context.skip_frame = "DEFAULT"
        found = _straight(container, stream, most, request)
    return found


def _straight(container: Any, stream: Any, most: int, request: Request) -> tuple[Pictures, int, tuple[int, int]]:
    expected = int(
        _duration(container, stream) * float(stream.average_rate or 0) * (request.window[1] - request.window[0])
    )
    thinned, decoded, shape = Thinned(min(expected, most)), 0, (0, 0)
    for time_s, frame in _frames(container, stream):
        decoded += 1
        if thinned.wants():
            picture, shape = upright(frame, request.size)
            thinned.keep(time_s, picture)
        if decoded >= most:
            break
    return sorted(thinned.kept, key=lambda one: one[0]), decoded, shape


def _seek(container: Any, stream: Any, todo: Plan, request: Request) -> tuple[Pictures, int, tuple[int, int]]:
    """Decode from the key frame before each target; targets that share one share the pictures that follow it."""
    found: dict[float, NDArray[np.uint8]] = {}
    decoded, shape = 0, (0, 0)
    shared = Counter(filter(None, (_key_before(container, stream, target_s) for target_s in todo.targets_s)))
    for key_s, targets in sorted(shared.items()):
        if not _go(container, stream, key_s):
            continue
        for count, (time_s, frame) in enumerate(_frames(container, stream)):
            decoded += 1
            if count % todo.forward == 0 and time_s not in found:
                found[time_s], shape = upright(frame, request.size)
            if count + 1 >= todo.forward * targets:
                break
    return sorted(found.items()), decoded, shape


def _go(container: Any, stream: Any, time_s: float) -> bool:
    """Go to the key frame at or before a time; False where the file has no way there."""
    try:
        container.seek(int(time_s / stream.time_base) + (stream.start_time or 0), stream=stream, backward=True)
    except (av.FFmpegError, OverflowError):
        return False
    return True


def _key_before(container: Any, stream: Any, time_s: float) -> float | None:
    """Return the time of the key frame at or before a time, found without decoding."""
    if not _go(container, stream, time_s):
        return None
    with suppress(av.FFmpegError):
        packet = next(iter(container.demux(stream)), None)
        if (
            packet is not None
            and packet.size
            and (when := packet.pts if packet.pts is not None else packet.dts) is not None
        ):
            return max(float((when - (stream.start_time or 0)) * stream.time_base), 1e-6)
    return None


def _frames(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """Yield time and frame from the present place on; what is damaged is passed over."""
    start = stream.start_time or 0
    rate = float(getattr(stream, "average_rate", None) or 25)
    bad, count, packets = 0, 0, container.demux(stream)
    for _ in range(_PACKETS):
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = stream.codec_context.decode(packet if packet.size else None)
        except av.FFmpegError as error:
            if error.errno == ENOMEM:
                raise MemoryError from None
            bad += 1
            if bad > 64:
                return
            continue
        for frame in frames:
            known = frame.pts is not None and stream.time_base
            yield (float((frame.pts - start) * stream.time_base) if known else count / rate), frame
            count += 1
        if not packet.size:
            return


def upright(frame: Any, size: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return a frame as [S, S, 3] (upright, aspect kept, centred on black), and its upright width and height."""
    aspect = frame.sample_aspect_ratio if hasattr(frame, "sample_aspect_ratio") else None
    stretch = float(aspect) if aspect and 0.1 < float(aspect) < 10 else 1.0
    scale = size / max(frame.width * stretch, frame.height)
    width = int(np.clip(round(frame.width * stretch * scale), 1, size))
    height = int(np.clip(round(frame.height * scale), 1, size))
    pixels = _SCALER.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1).to_ndarray()
    turns = round((frame.rotation or 0) / 90) % 4
    pixels = np.rot90(pixels, turns)
    out = np.zeros((size, size, 3), np.uint8)
    high, wide = pixels.shape[:2]
    top, left = (size - high) // 2, (size - wide) // 2
    out[top : top + high, left : left + wide] = pixels
    return out, (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)


def _sound(container: Any, stream: Any, duration_s: float, request: Request) -> NDArray[np.float32]:
    """Return excerpts [P, PATCH_SAMPLES]: of the whole window when it is short, else one at each of P moments."""
    low, high = (share * duration_s for share in request.window)
    length = PATCH_SAMPLES / SOUND_RATE
    if high - low <= _SOUND_READ_S:
        wave = _wave(container, stream, low, (high - low) or _SOUND_READ_S)
        if not len(wave):
            return np.zeros((0, PATCH_SAMPLES), np.float32)
        wave = np.pad(wave, (0, max(PATCH_SAMPLES - len(wave), 0)))
        starts = patch_starts(len(wave), PATCH_SAMPLES, request.patches)
        return np.stack([wave[at : at + PATCH_SAMPLES] for at in starts])
    moments = low + np.arange(request.patches) / request.patches * (high - low - length)
    waves = [_wave(container, stream, moment, length) for moment in moments]
    full = [np.pad(wave, (0, PATCH_SAMPLES - len(wave))) for wave in waves if len(wave) > PATCH_SAMPLES // 4]
    return np.stack(full) if full else np.zeros((0, PATCH_SAMPLES), np.float32)


def _wave(container: Any, stream: Any, start_s: float, seconds: float) -> NDArray[np.float32]:
    """Return up to `seconds` of sound from `start_s` on, one channel at `SOUND_RATE`."""
    if not _go(container, stream, start_s):
        return np.zeros(0, np.float32)
    resampler = av.AudioResampler("flt", "mono", SOUND_RATE)
    parts: list[NDArray[np.float32]] = []
    wanted, have = int(seconds * SOUND_RATE), 0
    for time_s, frame in _frames(container, stream):
        try:
            wave = np.concatenate([one.to_ndarray()[0] for one in resampler.resample(frame)] or [[]])
        except (av.FFmpegError, ValueError):
            continue
        if not parts and time_s < start_s:  # the seek went to a packet before
            wave = wave[int((start_s - time_s) * SOUND_RATE) :]
        if len(wave):
            parts.append(np.nan_to_num(wave.astype(np.float32)))
            have += len(wave)
        if have >= wanted:
            break
    return np.clip(np.concatenate(parts)[:wanted], -1.0, 1.0) if parts else np.zeros(0, np.float32)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)[:120]
