"""What ingest has to do, and what it makes of a video, with the real decoder on rendered clips."""

from __future__ import annotations

import base64
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from model.content.decoder import Decoder
from model.content.encoder import ContentEncoder
from model.content.ingest import Vectoriser
from model.content.ingest_cli import parse_part
from model.content.media import BadMedia
from model.content.todo import Task, Todo
from model.content.weights import read_weights
from producers.clip_studio import clip_of
from streams.config import ConfigError
from streams.core.content import VideoContent
from tests.versions import clip

MEDIA = clip_of(np.ones(16), "a1", 1).mp4()


def told(offset, number, **fields):
    return SimpleNamespace(offset=offset, key=b"v%d" % number), clip(number, **fields)


def content(number, offset, version="now", **fields):
    return VideoContent(video_id=f"v{number}", version=version, videos_offset=offset, **fields)


def ids(todo, now=0.0):
    found = []
    while (task := todo.next(now)) is not None:
        found.append(task.video.video_id)
    return found


def test_exactly_what_is_missing_is_done():
    todo = Todo("now")
    for offset, number in enumerate((1, 2, 3, 4, 5, 6)):
        todo.publish(*told(offset, number))
    todo.withdraw("v5")
    todo.note("v1", content(1, 0))
    todo.note("v2", content(2, 1, "before"))
    todo.note("v4", content(4, 1))  # published anew since
    todo.note("v5", content(5, 4))
    todo.note("v9", content(9, 0))
    todo.note("v6", content(6, 5))
    todo.note("v6", None)
    assert todo.start() == ["v5", "v9"]
    assert ids(todo) == ["v2", "v3", "v4", "v6"]


def test_what_was_withdrawn_and_published_again_before_the_start_keeps_its_vectors():
    todo = Todo("now")
    todo.publish(*told(1, 1))
    assert not todo.withdraw("v1")
    todo.publish(*told(3, 1))
    todo.note("v1", content(1, 3))
    assert todo.start() == []
    assert ids(todo) == []


def test_media_that_was_still_looked_for_at_the_end_is_looked_for_again():
    todo = Todo("now")
    todo.publish(*told(0, 1))
    todo.publish(*told(1, 2))
    todo.note("v1", content(1, 0, reason="missing", final=False))
    todo.note("v2", content(2, 1, reason="missing"))
    todo.start()
    found = todo.next(0.0)
    assert (found.video.video_id, found.known) == ("v1", False)
    assert todo.next(0.0) is None


def test_new_videos_go_first_and_a_withdrawn_one_is_not_done():
    todo = Todo("now")
    todo.publish(*told(0, 1))
    todo.start()
    todo.publish(*told(1, 2))
    todo.publish(*told(2, 3))
    assert todo.withdraw("v2")
    assert not todo.withdraw("v2")
    assert ids(todo) == ["v3", "v1"]


def test_what_may_still_come_is_looked_for_again():
    todo = Todo("now")
    todo.start()
    todo.publish(*told(0, 1))
    todo.publish(*told(1, 2))
    first, second = todo.next(0.0), todo.next(0.0)
    todo.again(first, 5.0)
    todo.again(second, 6.0)
    assert todo.next(4.9) is None
    todo.withdraw("v2")
    assert todo.next(5.0).attempt == 1
    assert todo.next(99.0) is None
    assert not todo.is_newest(second)


def test_a_failure_that_is_known_gives_no_second_letter():
    todo = Todo("now")
    todo.publish(*told(0, 1))
    todo.note("v1", content(1, 0, "before", reason="damaged"))
    todo.start()
    assert todo.next(0.0).known


@pytest.fixture(scope="module")
def vectorise():
    weights, manifest = read_weights()
    with Decoder() as decoder:
        counted = Counting(ContentEncoder(weights, decoder))
        yield Vectoriser(counted, decoder, manifest.version, Todo(manifest.version).cache)


class Counting:
    def __init__(self, encoder):
        self._encoder, self.decoded = encoder, 0
        self.of_text = encoder.of_text

    def __call__(self, media, title=""):
        self.decoded += media is not None
        return self._encoder(media, title)


def task(number, **fields):
    return Task(*told(number, number, **fields))


def test_the_same_media_is_decoded_once_whatever_its_address(vectorise, tmp_path):
    paths = [tmp_path / "one.mp4", tmp_path / "other.bin"]
    for path in paths:
        path.write_bytes(MEDIA)
    cache = vectorise._cache
    made, result, _ = vectorise(task(1, media=str(paths[0]), title="一只猫"))
    assert result == "embedded"
    assert made.frames
    assert made.sound
    assert made.text
    cache[made.media_hash] = made
    before = vectorise._encoder.decoded
    other, result, _ = vectorise(task(2, media=f"file://{paths[1]}", title="dog"))
    assert (result, vectorise._encoder.decoded) == ("cached", before)
    assert (other.frames, other.sound, other.media_hash) == (made.frames, made.sound, made.media_hash)
    assert other.text != made.text


def test_media_in_the_address_itself(vectorise):
    pixel = base64.b64decode("R0lGODlhAQABAIAAAP8AAAAAACwAAAAAAQABAAACAkQBADs=")
    made, result, _ = vectorise(task(3, media="data:image/gif;base64," + base64.b64encode(pixel).decode()))
    assert (result, bool(made.frames), bool(made.text)) == ("embedded", True, False)
    made, result, detail = vectorise(task(4, media="data:image/gif;base64,!!", title="t"))
    assert (result, made.reason, bool(made.text)) == ("failed", "not-media", True)
    assert "data address" in detail


@pytest.mark.parametrize(
    ("kind", "reason"), [("missing", "missing"), ("empty", "empty"), ("noise", "not-media"), ("scheme", "scheme")]
)
def test_bad_media_leave_the_text_and_a_reason(vectorise, tmp_path, kind, reason):
    path = tmp_path / "clip.mp4"
    if kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"noise" * 999)
    media = "ftp://host/clip.mp4" if kind == "scheme" else str(path)
    made, result, _ = vectorise(task(5, media=media, title="cat"))
    assert (result, made.reason) == ("failed", reason)
    assert made.text
    assert not made.frames


def test_a_digest_is_that_of_the_bytes(tmp_path):
    from hashlib import sha256

    path = tmp_path / "clip.mp4"
    path.write_bytes(MEDIA)
    with Decoder() as decoder:
        assert decoder.digest(path) == decoder.digest(MEDIA) == sha256(MEDIA).hexdigest()
        small = Decoder(replace(decoder.limits, megabytes=1))
        path.write_bytes(bytes(2 << 20))
        with small, pytest.raises(BadMedia, match="too-large"):
            small.digest(path)


def test_parts():
    assert (parse_part("1/1"), parse_part("2/3")) == ((0, 1), (1, 3))
    for wrong in ("0/1", "3/2", "1", "a/b"):
        with pytest.raises(ConfigError):
            parse_part(wrong)
