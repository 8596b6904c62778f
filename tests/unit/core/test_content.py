"""Contents of videos: what a record may hold, and what was known when."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from streams.codecs import BadRecord, Decoder, encode
from streams.core.content import KEPT, SIZES, Contents, VideoContent, encoded_half
from streams.core.pool import FreshPool
from tests.fakes import FakeScorer, video

decode = Decoder(VideoContent)


def told(number, offset=0, **fields):
    return VideoContent(video_id=f"v{number}", version="a", videos_offset=offset, **fields)


def test_a_record_survives_the_wire():
    half = encoded_half(np.linspace(-1, 1, SIZES["sound"]))
    assert decode(encode(told(1, sound=half, reason="damaged"))) == told(1, sound=half, reason="damaged")


@pytest.mark.parametrize(
    "fields",
    [
        {"frames": bytes(10)},
        {"sound": bytes(2 * SIZES["text"])},
        {"text": b"\x00\x7c" * SIZES["text"]},
        {"media_hash": "x"},
    ],
)
def test_vectors_of_another_size_or_without_an_end_are_refused(fields):
    good = {"video_id": "v1", "version": "a", "videos_offset": 0, "schema": 1}
    with pytest.raises(BadRecord, match="invalid"):
        decode(msgspec.msgpack.encode(good | fields))


def test_what_was_known_before_a_record():
    found = Contents(10)
    for offset in (3, 5, 9):
        found.add(offset, told(1, offset), ())
    assert [getattr(found.get("v1", end), "videos_offset", None) for end in (3, 4, 6, 100)] == [None, 3, 5, 9]
    assert (found.since("v1"), found.since("v2")) == (9, -1)


def test_memory_is_bounded_and_what_is_known_stays():
    found = Contents(10)
    for offset in range(100):
        found.add(offset, told(offset % 50, offset), {"v0"})
    assert len(found) <= 21
    assert found.get("v0", 200) is not None
    for offset in range(100, 100 + 2 * KEPT):
        found.add(offset, told(0, offset), {"v0"})
    assert found.get("v0", 100 + KEPT) is None


def test_a_content_encodes_its_video_anew_and_may_come_first():
    pool, scorer = FreshPool(8, 100, 10), FakeScorer()
    plain = scorer.encode([video(1)])[0]
    assert pool.note_contents([told(2, 50)], [0]) == []
    pool.add([video(1), video(2)])
    vectors = pool.encoded(scorer).vectors
    assert np.array_equal(vectors[:1], plain)
    assert not np.array_equal(vectors[1:2], scorer.encode([video(2)])[0])
    assert pool.note_contents([told(1, 50), told(9, 1)], [1, 2]) == [0]
    assert not np.array_equal(pool.encoded(scorer).vectors[:1], plain)
    assert pool.note_contents([told(1, 60)], [3]) == []  # not its first


def test_a_slot_that_is_given_away_takes_its_own_content():
    pool, scorer = FreshPool(1, 100, 10), FakeScorer()
    pool.note_contents([told(1, 50)], [4])
    pool.add([video(1)])
    pool.add([video(2)])
    assert np.array_equal(pool.encoded(scorer).vectors, scorer.encode([video(2)])[0])
    assert pool.content_since[0] == -1
