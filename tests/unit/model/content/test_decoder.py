"""Twelve kinds of broken or odd media, each a row; and a decoder's process that crashes, hangs or eats memory."""

import io
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from model.content.decoder import COMMAND, Decoder
from model.content.media import REASONS, BadMedia, Limits
from model.content.sampling import BUDGET_PIXELS, LEAST_PIXELS
from producers.clip_files import encode

RED, BLUE = (200, 30, 30), (30, 30, 200)


def picture(height=48, width=64, shift=0):
    pixels = np.full((height, width, 3), RED, np.uint8)
    pixels[:, width // 2 + shift % 8 :] = BLUE
    return pixels


def clip(frames=12, height=48, width=64, rate=12, wave=None, file_format="mp4"):
    return encode((picture(height, width, at) for at in range(frames)), rate, wave, file_format)


def tone(seconds=1.0):
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.float32)


def cheap(frames, rate, gop, times=None, height=48, width=64):
    """An MPEG-4 clip of one picture again and again, with a key frame every `gop`, at the given times (in 1/1000 s)."""
    out = io.BytesIO()
    one = av.VideoFrame.from_ndarray(picture(), format="rgb24").reformat(width, height, "yuv420p")
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, 1000)
        for at in range(frames):
            one.pts, one.time_base = times[at] if times else at * 1000 // rate, Fraction(1, 1000)
            container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    return out.getvalue()


def only_sound():
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        for start in range(0, 16_000, 1000):
            frame = av.AudioFrame.from_ndarray(tone()[None, start : start + 1000], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def rotated():
    """A clip whose track says: turn it a quarter clockwise to show it."""
    data = bytearray(clip())
    at = data.index(b"tkhd") + 4 + 40
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in quarter)
    return bytes(data)


def noisy():
    """A container that is whole, with every byte of the pictures replaced."""
    data = bytearray(clip(30))
    at = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[at:end] = np.random.default_rng(0).bytes(end - at)
    return bytes(data)


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as one:
        yield one


ODD = {  # kind: (media, frames at least, patches of sound at least)
    "plain": (clip, 10, 0),
    "one frame": (lambda: clip(1), 1, 0),
    "only sound": (only_sound, 0, 1),
    "sound and pictures": (lambda: clip(wave=tone(3.0), frames=36), 12, 3),
    "8K": (lambda: cheap(2, 1, 1, height=4320, width=7680), 1, 0),
    "odd size": (lambda: cheap(6, 6, 6, height=46, width=18), 6, 0),
    "variable rate": (lambda: cheap(8, 25, 4, times=[0, 10, 20, 30, 900, 1000, 4000, 4040]), 8, 0),
    "cut off MKV": (lambda: (data := clip(60, file_format="matroska"))[: len(data) // 2], 4, 0),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_media_give_frames_or_sound(kind, decoder):
    make, frames, patches = ODD[kind]
    media = decoder(make())
    assert frames <= len(media.frames) <= 12
    assert patches <= len(media.sound) <= 8
    assert (np.diff(media.times_s) > 0).all()
    assert np.isfinite(media.sound).all()


BROKEN = {
    "zero length": (lambda: b"", "empty"),
    "text": (lambda: b"This is no film.\n" * 100, "not-media"),
    "a playlist that names a file": (lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "not-media"),
    "random bytes": (lambda: np.random.default_rng(1).bytes(5000), "not-media"),
    "cut off MP4": (lambda: clip(60)[:800], "damaged"),
    "corrupt": (noisy, "damaged"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_media_have_a_stable_reason(kind, decoder):
    make, reason = BROKEN[kind]
    with pytest.raises(BadMedia) as caught:
        decoder(make())
    assert caught.value.reason == reason
    assert caught.value.reason in REASONS
    assert 0 < len(caught.value.detail) <= 300


def test_a_decoder_goes_on_after_broken_media(decoder):
    before = decoder.started
    with pytest.raises(BadMedia):
        decoder(b"nonsense")
    assert len(decoder(clip()).frames) == 12
    assert decoder.started == before


def test_a_ten_minute_clip_costs_no_more_than_a_short_one(decoder):
    media = decoder(cheap(6_000, 10, 120))
    assert media.duration_s == pytest.approx(600, rel=0.01)
    assert len(media.frames) == 12
    assert media.decoded <= BUDGET_PIXELS // LEAST_PIXELS < 6_000 / 10
    assert media.times_s[0] < 30
    assert media.times_s[-1] > 550
    assert np.diff(media.times_s).max() < 120


def test_a_window_looks_at_its_part_alone(decoder):
    data = clip(48)
    first, second = decoder(data, (0.0, 0.5)), decoder(data, (0.5, 1.0))
    assert first.times_s.max() < 2.0 <= second.times_s.min()


def test_a_rotated_clip_stands_upright(decoder):
    media = decoder(rotated())
    assert (media.width, media.height) == (48, 64)
    top, bottom = media.frames[0][8, 32], media.frames[0][56, 32]
    assert top[0] > top[2]  # what was left is on top
    assert bottom[2] > bottom[0]


def test_the_aspect_is_kept_on_black(decoder):
    frame = decoder(clip(2, 32, 64)).frames[0]
    assert frame[:15].max() == 0
    assert frame[-15:].max() == 0
    assert frame[32, 4, 0] > 150


def test_files_by_path_and_address(tmp_path, decoder):
    path = tmp_path / "picture.txt"  # the name says nothing
    path.write_bytes(clip())
    by_path, by_address = decoder(path), decoder(f"file://{path}")
    assert np.array_equal(by_path.frames, by_address.frames)


def test_files_that_cannot_be_read(tmp_path, decoder):
    import os

    closed, pipe = tmp_path / "closed.mp4", tmp_path / "pipe.mp4"
    closed.write_bytes(clip(1))
    closed.chmod(0)
    os.mkfifo(pipe)
    found = {}
    for name in (tmp_path / "none.mp4", pipe, tmp_path, "ftp://somewhere/clip.mp4", closed):
        try:
            decoder(name)
            found[str(name).rpartition("/")[2]] = "read"
        except BadMedia as bad:
            found[str(name).rpartition("/")[2]] = bad.reason
    assert found["none.mp4"] == "missing"
    assert found["pipe.mp4"] == found[tmp_path.name] == "not-a-file"
    assert found["clip.mp4"] == "scheme"
    assert found["closed.mp4"] == ("read" if os.geteuid() == 0 else "no-permission")


def child(body):
    return (sys.executable, "-c", body)


def test_a_crash_is_a_reason_and_the_next_file_is_decoded():
    with Decoder(command=child("import os, sys; sys.stdin.buffer.read(4); os.abort()")) as broken:
        for _ in range(2):
            with pytest.raises(BadMedia, match="crashed"):
                broken(clip(1))
        assert broken.started == 2


def test_a_hang_is_ended_by_the_clock():
    started = time.monotonic()
    hanging = Decoder(Limits(seconds=0.5), child("import time; time.sleep(60)"))
    with hanging, pytest.raises(BadMedia, match="time-limit"):
        hanging(bytes(4 << 20))  # more than the pipe holds: also the writing is bounded
    assert time.monotonic() - started < 5


def test_too_much_processor_time_is_a_time_limit():
    body = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass"
    with Decoder(Limits(seconds=60), child(body)) as spinning, pytest.raises(BadMedia, match="time-limit"):
        spinning(clip(1))


def test_an_answer_that_makes_no_sense_is_a_crash():
    lying = Decoder(command=child("import sys; sys.stdout.buffer.write(b'\\xff' * 100); sys.stdout.flush()"))
    with lying, pytest.raises(BadMedia, match="crashed"):
        lying(clip(1))


def test_memory_has_a_bound_and_the_decoder_recovers():
    with Decoder(Limits(memory_mb=300)) as small:
        with pytest.raises(BadMedia, match="memory-limit"):
            small(cheap(2, 1, 1, height=4320, width=7680))
        assert len(small(clip()).frames) == 12


def test_more_bytes_than_the_limit_are_refused():
    with Decoder(Limits(megabytes=1)) as one, pytest.raises(BadMedia, match="too-large"):
        one(bytes(3 << 20))


def test_the_child_imports_no_tensorflow():
    import subprocess

    code = "import sys, model.content.child, model.content.encoder; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    assert COMMAND[-1] == "model.content.child"
