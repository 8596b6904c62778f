"""Content vectors as inputs: what is missing is said, and versions with other inputs go on from each other."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from model.catalogue import Catalogue
from model.config import ModelConfig
from model.modalities import MODALITIES, WIDTH, inputs, rows_of, size_of, unpacked
from model.serving import NumpyScorer
from model.weights import check, fitted
from streams.core.content import SIZES
from tests.versions import SMALL, clip, grown, told

SEEING = msgspec.structs.replace(SMALL, media=MODALITIES)
HEARING = msgspec.structs.replace(SMALL, media=("sound",))
CONTENTS = [told(number) for number in range(10)]


def test_a_missing_modality_is_zeros_and_says_so():
    halves, present = unpacked(CONTENTS, 10)
    found = inputs(halves, present, MODALITIES)
    assert found.shape == (10, size_of(MODALITIES)) == (10, WIDTH + 3)
    for row, one in enumerate(CONTENTS):
        for name, columns in rows_of(MODALITIES).items():
            half = getattr(one, name) if one else b""
            vector = np.frombuffer(half, "<f2") if half else np.zeros(SIZES[name])
            assert np.array_equal(found[row, columns[:-1]], vector.astype(np.float32))
            assert found[row, columns[-1]] == float(not half)


def test_where_nothing_is_known_of_any_video_all_is_missing():
    assert np.array_equal(inputs(*unpacked((), 3), ("text",)), inputs(*unpacked([None] * 3, 3), ("text",)))


def test_media_inputs_have_an_order_and_no_doubles():
    for wrong in (("text", "frames"), ("sound", "sound"), ("smell",)):
        with pytest.raises(ValueError, match="media must be some of"):
            ModelConfig(media=wrong)


def test_a_version_without_media_inputs_is_served_as_it_was_and_learning_goes_on_from_it():
    old = grown(SMALL)
    videos = [clip(number) for number in range(10)]
    wider = fitted(old, SMALL, SEEING)
    check(wider, SEEING)
    before = NumpyScorer(old, SMALL, 1, 0).encode(videos, CONTENTS)[0]
    np.testing.assert_allclose(NumpyScorer(wider, SEEING, 1, 0).encode(videos, CONTENTS)[0], before, atol=1e-6)
    assert SEEING.differences(SMALL) == []


def test_what_was_learned_of_a_modality_is_kept_when_others_come_or_go():
    seeing = grown(SEEING)
    hearing = fitted(seeing, SEEING, HEARING)
    check(hearing, HEARING)
    assert np.array_equal(hearing["media.kernel"], seeing["media.kernel"][rows_of(MODALITIES)["sound"]])
    back = fitted(hearing, HEARING, SEEING)
    assert np.array_equal(back["media.kernel"][rows_of(MODALITIES)["sound"]], hearing["media.kernel"])
    assert not back["media.kernel"][rows_of(MODALITIES)["text"]].any()
    check(fitted(hearing, HEARING, SMALL), SMALL)


def test_a_catalogue_holds_what_serving_sees():
    catalogue = Catalogue()
    catalogue.add_contents([told(1), told(3)])
    catalogue.add([clip(number) for number in range(10)])
    catalogue.add_contents([one for one in CONTENTS if one])
    kept = np.arange(len(catalogue)) % 2 == 0
    catalogue.keep(kept)
    for number in [1, 0, 4, 6, 8]:
        at = catalogue.index(f"v{number}")
        assert catalogue.known[at]
        halves, present = unpacked([told(number)], 1)
        assert np.array_equal(catalogue.halves[at], halves[0])
        assert np.array_equal(catalogue.present[at], present[0])
    assert len(catalogue) == 5
