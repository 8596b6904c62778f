"""Towers, sound, text and retrieval: what holds for any weights."""

import msgspec
import numpy as np
import pytest

from model.content.encoder import ContentEncoder
from model.content.media import PATCH_SAMPLES, Media
from model.content.retrieval import histogram, match_halves, precision_at
from model.content.serving import TowerForward, colour_counts, pictures_of
from model.content.sound import MELS, ROWS, log_mel
from model.content.text import BUCKETS, initial_rows, ngram_ids, text_vector
from model.content.towers import FRAMES, SOUND, initial_weights
from model.content.weights import Manifest, read_weights, write_weights
from producers.clip_files import render
from streams.config import ConfigError

TOPIC = np.random.default_rng(4).normal(size=16)


@pytest.fixture(scope="module")
def forward():
    return TowerForward(FRAMES, initial_weights(FRAMES, 1))


def frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def media(pictures, width=64, height=64):
    return Media(
        pictures, np.arange(float(len(pictures))), np.zeros((0, PATCH_SAMPLES), np.float32), width, height, 1.0, 1
    )


@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_vector_has_length_one_for_any_number_of_pictures(forward, count):
    vector = forward(pictures_of(frames(count)))
    assert vector.shape == (FRAMES.size,)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_black_pictures_and_silence_have_finite_vectors(forward):
    assert np.isfinite(forward(pictures_of(np.zeros((3, 64, 64, 3), np.uint8)))).all()
    silent = TowerForward(SOUND, initial_weights(SOUND, 1))(log_mel(np.zeros((2, PATCH_SAMPLES), np.float32)))
    assert np.isfinite(silent).all()


def test_pictures_of_another_shape_are_refused(forward):
    with pytest.raises(ValueError, match="frames"):
        forward(np.zeros((13, 64, 64, 4), np.float32))
    with pytest.raises(ValueError, match="frames"):
        forward(np.zeros((1, 32, 64, 4), np.float32))


def test_a_missing_or_misshapen_weight_is_named():
    weights = initial_weights(FRAMES, 1)
    with pytest.raises(ValueError, match=r"frames.vector.kernel"):
        TowerForward(FRAMES, weights | {"frames.vector.kernel": np.zeros((2, 2), np.float32)})


def test_the_motion_channel_sees_movement_and_nothing_in_a_still():
    still = np.repeat(frames(1), 4, axis=0)
    assert pictures_of(still)[..., 3].max() == 0
    assert pictures_of(frames(4))[..., 3].min() > 0
    assert pictures_of(frames(1))[..., 3].max() == 0


def test_colour_counts_are_shares_of_each_colour():
    half = np.zeros((1, 64, 64, 3), np.uint8)
    half[:, :32] = 255
    counts = colour_counts(pictures_of(half), ((2, 1), (2, 2)))
    assert counts.shape == (1, 8 + 32)
    assert counts[0, :8] ** 2 == pytest.approx([0.5, 0, 0, 0, 0, 0, 0, 0.5])
    assert (counts[0, 8:] ** 2).reshape(4, 8)[:, [0, 7]] == pytest.approx(np.array([[0, 0.25]] * 2 + [[0.25, 0]] * 2))


def test_log_mel_puts_a_tone_in_its_band():
    t = np.arange(PATCH_SAMPLES) / 16_000
    low, high = (log_mel(0.5 * np.sin(2 * np.pi * f * t)[None].astype(np.float32))[0, :, :, 0] for f in (200, 4000))
    assert low.shape == (ROWS, MELS)
    assert low.mean(axis=0).argmax() < high.mean(axis=0).argmax()
    assert log_mel(np.zeros((1, PATCH_SAMPLES), np.float32)).max() == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("near", "far"),
    [
        (("how to bake bread", "baking bread at home"), "night train to Oslo"),
        (("美味的牛肉面", "牛肉面的做法"), "猫咪的一天"),
        (("أغنية جديدة", "أغاني جديدة"), "طبخ الأرز"),
    ],
)
def test_texts_with_common_ngrams_are_closer_in_any_script(near, far):
    rows = initial_rows(1)
    one, two, three = (text_vector(text, rows) for text in (*near, far))
    assert one @ two > one @ three + 0.1


def test_text_folds_case_width_and_punctuation_and_may_be_absent():
    assert ngram_ids("Hello, World!").tolist() == ngram_ids("ｈｅｌｌｏ world").tolist()
    assert text_vector(" ...!? ", initial_rows(1)) is None
    assert ngram_ids("a" * 10_000).max() < BUCKETS


def test_halves_count_both_ways_and_a_tie_is_a_miss():
    vectors = np.eye(6, dtype=np.float32)[[0, 0, 1, 1, 2, 3]]
    found = match_halves(vectors)
    assert (found.both, found.first, found.second, found.total, found.missed) == (2, 2, 2, 3, (2,))
    assert match_halves(np.ones((6, 3), np.float32)).both == 0


def test_a_half_that_is_found_but_does_not_find_counts_one_way():
    vectors = np.array([[1, 0], [0.9, 0.1], [0.85, 0.16], [0, 1]], np.float32)
    found = match_halves(vectors)
    assert found.first == found.second == 1  # the first of one clip, the second of the other
    assert found.both == 0


def test_precision_is_the_share_of_the_own_group():
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    assert precision_at(vectors, np.array([0, 0, 1, 1]), 1) == 1.0
    assert precision_at(vectors, np.array([0, 1, 0, 1]), 1) == 0.0


def test_the_histogram_leaves_the_black_borders_out():
    wide = np.zeros((1, 64, 64, 3), np.uint8)
    wide[:, 16:48] = 255
    assert histogram(media(wide, 128, 64)).max() == 1.0


def test_an_item_without_media_has_text_alone():
    content = ContentEncoder(initial_weights(FRAMES, 1) | initial_weights(SOUND, 1), None)(None, "a title")
    assert content.frames is None
    assert content.sound is None
    assert content.text is not None
    assert content.reason == ""


def test_weights_are_read_back_and_a_changed_byte_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    weights = initial_weights(FRAMES, 3) | initial_weights(SOUND, 3)
    written = write_weights(path, weights, Manifest("", "by hand", 3, 0, 0))
    read, manifest = read_weights(path)
    assert manifest == written
    assert all(np.allclose(read[name], weights[name], atol=2e-3) for name in weights)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ConfigError, match="SHA-256"):
        read_weights(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_weights(tmp_path / "none.safetensors")


def test_weights_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, initial_weights(FRAMES, 3), Manifest("", "by hand", 3, 0, 0))
    with pytest.raises(ConfigError, match="do not fit"):
        read_weights(path)


def test_the_shipped_weights_are_small_and_whole():
    from model.content.weights import DEFAULT

    _, manifest = read_weights()
    assert DEFAULT.stat().st_size < 1_000_000
    assert "freshloop content train" in manifest.command
    assert msgspec.json.encode(manifest)


def test_a_rendered_clip_is_a_pure_function_of_its_seeds():
    one, again, other = render(TOPIC, 1, 1, 2.0), render(TOPIC, 1, 1, 2.0), render(TOPIC, 1, 2, 2.0)
    assert np.array_equal(one.picture(0.7, 36, 64), again.picture(0.7, 36, 64))
    assert not np.array_equal(one.picture(0.7, 36, 64), other.picture(0.7, 36, 64))
    assert np.array_equal(one.sound(0.5, 0.2), again.sound(0.5, 0.2))
    assert not np.array_equal(one.sound(0.5, 0.2), other.sound(0.5, 0.2))


def test_a_rendered_clip_stays_in_range_for_extreme_topics():
    for sign in (-50.0, 0.0, 50.0):
        clip = render(np.full(16, sign), 5, 6, 2.0)
        picture = clip.picture(1.0, 36, 64)
        assert picture.shape == (36, 64, 3)
        assert picture.dtype == np.float32
        assert 0 <= picture.min() <= picture.max() <= 1
        assert np.abs(clip.sound(0.0, 0.1)).max() <= 1
