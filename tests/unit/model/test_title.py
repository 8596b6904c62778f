"""Titles and tags as n-grams with rows: what is taken of a text, and what a version that has rows makes of it."""

import msgspec
import numpy as np
import pytest

from model.features import VIDEO, features
from model.serving import NumpyScorer
from model.title import BUCKETS, GRAMS, packed_grams, read_as
from model.weights import WeightsError, check, from_bytes, to_bytes
from tests.versions import SMALL, clip, grown

TITLES = ("今天天气很好", "天气不好", "Good weather today", "दिन अच्छा है", "", "🎵🎵", "猫")


def grams(title, *tags):
    found = np.frombuffer(packed_grams(title, tags), np.uint16)
    assert len(found) == GRAMS
    return set(found.tolist()) - {0}


def with_rows(seed=0, kept=1.0):
    rng = np.random.default_rng(seed)
    known = np.array(sorted(set.union(*map(grams, TITLES), grams("", "t1", "t2"))), np.int64)
    keys = known[rng.random(len(known)) < kept]
    rows = rng.normal(size=(len(keys), SMALL.embedding_size)).astype(np.float32)
    return grown() | {"table.text.keys": keys, "table.text.rows": rows}


def videos():
    return [clip(number, title=TITLES[number % len(TITLES)]) for number in range(70)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("今天天气很好", 7),  # " 今", five pairs, and "好 "
        ("天気がいい", 6),
        ("Good day", 7),  # " go", "goo", "ood", "od ", "d d", " da", "day", "ay "; one each
        ("a", 1),
        ("", 0),
        ("🎵 …!?", 0),
    ],
)
def test_a_text_of_any_script_gives_a_few_n_grams(text, count):
    assert abs(len(grams(text)) - count) <= 1  # two may share a bucket


def test_case_width_and_punctuation_do_not_matter_and_order_of_words_hardly():
    assert grams("Ｇｏｏｄ, DAY!") == grams("good day")
    assert grams("天气，很好") == grams("天气 很好")
    assert len(grams("cat dog") & grams("dog cat")) >= 5
    assert grams("天气很好") & grams("今天天气")


def test_texts_of_one_language_share_and_others_do_not():
    assert len(grams("今天天气很好") & grams("天气不好")) >= 2
    assert len(grams("今天天气很好") & grams("猫和狗")) == 0


def test_tags_are_read_too_and_a_long_text_is_bounded():
    assert grams("", "cats", "犬") == grams("cats") | grams("犬")
    long = grams("".join(map(chr, range(0x4E00, 0x4E00 + 400))))
    assert len(long) == GRAMS
    assert max(long) < BUCKETS


def test_of_a_long_text_the_same_n_grams_are_taken_wherever_they_stand():
    words = [f"{chr(0x4E00 + at)}{chr(0x5E00 + at)}" for at in range(60)]
    one, other = grams(" ".join(words)), grams(" ".join(reversed(words)))
    assert len(one & other) > 0.6 * GRAMS


def test_the_mean_of_the_rows_joins_the_vector_before_the_tanh():
    weights, found = with_rows(), videos()
    plain = NumpyScorer(grown(), SMALL, 1, 0).encode(found)[0]
    read = NumpyScorer(weights, SMALL, 1, 0).encode(found)[0]
    place = {key: at for at, key in enumerate(weights["table.text.keys"].tolist())}
    for one, before, after in zip(found, plain, read, strict=True):
        own = sorted(grams(one.title, *one.tags))
        added = [weights["table.text.rows"][place[gram]] for gram in own if gram in place]
        expected = np.sum(added, axis=0) / max(len(own), 1) if added else np.zeros(SMALL.embedding_size)
        np.testing.assert_allclose(np.arctanh(after), np.arctanh(before) + expected, atol=1e-4)
    assert np.array_equal(plain[4], read[4]) == (not found[4].tags)


def test_bits_do_not_depend_on_who_is_asked_for_together():
    weights, found = with_rows(kept=0.7), features(videos(), read=True)
    whole = read_as(found["grams"], weights, SMALL.embedding_size)
    order = np.random.default_rng(1).permutation(len(found))
    again = read_as(found["grams"][order], weights, SMALL.embedding_size)
    assert np.array_equal(again, whole[order])
    for at in range(0, 70, 9):
        assert np.array_equal(read_as(found["grams"][at : at + 1], weights, SMALL.embedding_size)[0], whole[at])


def test_without_rows_nothing_is_read_and_the_version_is_as_before():
    assert not features(videos())["grams"].any()
    assert features(videos(), read=True)["grams"].any()
    assert features([], read=True).dtype == VIDEO
    titled = NumpyScorer(grown(), SMALL, 1, 0).encode(videos())
    plain = NumpyScorer(grown(), SMALL, 1, 0).encode([msgspec.structs.replace(one, title="") for one in videos()])
    assert np.array_equal(titled[0], plain[0])


def test_weights_with_rows_can_serve_and_damaged_ones_cannot():
    check(from_bytes(to_bytes(with_rows())), SMALL)
    whole = with_rows()
    for keys in (whole["table.text.keys"] - whole["table.text.keys"][0], whole["table.text.keys"] + BUCKETS):
        with pytest.raises(WeightsError, match="keys"):
            check(whole | {"table.text.keys": keys}, SMALL)
    with pytest.raises(WeightsError, match="missing"):
        check({name: value for name, value in whole.items() if name != "table.text.rows"}, SMALL)
