"""Videos to numbers, and rows by key."""

import numpy as np
import pytest

from model.features import MAX_TAGS, content, features, lookup, residuals, take
from streams.core.events import Kind
from streams.core.hashing import key64
from tests.versions import SMALL, clip, grown


def test_lookup_finds_every_key_and_nothing_else():
    table = np.array([-(2**63), -5, 3, 8, 2**63 - 1], np.int64)
    keys = np.array([[8, -5], [4, -(2**63)], [2**63 - 1, 9]], np.int64)
    np.testing.assert_array_equal(lookup(table, keys), [[3, 1], [-1, 0], [4, -1]])


def test_lookup_in_an_empty_table():
    np.testing.assert_array_equal(lookup(np.zeros(0, np.int64), np.array([1, 0])), [-1, -1])
    assert take(np.zeros((0, 3), np.float32), np.array([-1, -1])).tolist() == [[0, 0, 0]] * 2


def test_key_zero_stands_for_nothing_even_where_a_table_holds_it():
    assert lookup(np.array([-1, 0, 1], np.int64), np.array([0, 1])).tolist() == [-1, 2]


def test_no_videos():
    found = features([])
    assert content(found, grown()).shape == (0, 3 * 3 + 4)
    assert residuals(found, grown()).shape == (0, 5)


def row_of(weights, name, key):
    keys = weights[f"table.{name}.keys"].tolist()
    rows = weights[f"table.{name}.rows"]
    return rows[keys.index(key64(key))] if key64(key) in keys else np.zeros(rows.shape[1], np.float32)


@pytest.mark.parametrize("number", range(12))
def test_content_is_author_mean_of_tags_music_and_numbers(number):
    weights, video = grown(), clip(number)
    tags = [row_of(weights, "tag", tag) for tag in video.tags] or [np.zeros(3)]
    expected = np.concatenate(
        [
            row_of(weights, "author", video.author_id),
            np.mean(tags, axis=0),
            row_of(weights, "music", video.music_id) if video.music_id else np.zeros(3),
            [np.log1p(video.duration_ms / 1000) / 5],
            [float(video.kind is kind) for kind in (Kind.VIDEO, Kind.PRODUCT, Kind.LIVE)],
        ]
    )
    np.testing.assert_allclose(content(features([video]), weights)[0], expected, atol=1e-6)


def test_an_unknown_tag_and_one_beyond_the_limit_count_in_the_mean_as_zeros():
    weights = grown()
    known = row_of(weights, "tag", "t1")
    mixed, many = clip(0, tags=("t1", "never seen")), clip(0, tags=("t1", *["x"] * (MAX_TAGS - 1), "t1"))
    found = content(features([mixed, many]), weights)[:, 3:6]
    np.testing.assert_allclose(found[0], known / 2, atol=1e-6)
    np.testing.assert_allclose(found[1], known / (MAX_TAGS + 1), atol=1e-6)


def test_a_video_without_feedback_has_no_residual():
    weights = grown(videos=3)
    found = residuals(features([clip(0), clip(3), clip(2)]), weights)
    np.testing.assert_array_equal(found[0], row_of(weights, "video", "v0"))
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_array_equal(found[2], row_of(weights, "video", "v2"))


def test_a_video_published_again_with_other_facts_is_another_video():
    weights = grown(SMALL)
    before, after = clip(1, author_id="a1"), clip(1, author_id="a2")
    assert not np.array_equal(content(features([before]), weights), content(features([after]), weights))
