import numpy as np
import pytest

from model.config import ModelConfig
from model.forms import packed, widened
from model.standard import STANDARD
from model.weights import check, from_bytes, initial, to_bytes


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(1)
    found = initial(ModelConfig())
    for name in ("author", "tag", "music", "video"):
        found[f"table.{name}.keys"] = np.arange(1, 201)
        width = found[f"table.{name}.rows"].shape[1]
        found[f"table.{name}.rows"] = rng.normal(0, 0.3, (200, width)).astype(np.float32)
    found["table.video.rows"][7] = 0.0
    return found


@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_a_form_can_serve_and_is_near_what_it_stands_for(weights, form):
    found = widened(from_bytes(to_bytes(packed(weights, form))))
    check(found, ModelConfig())
    for name, value in weights.items():
        if value.dtype != np.float32 or form == "float32":
            np.testing.assert_array_equal(found[name], value)
        elif form == "int8" and name.startswith("table."):
            step = np.abs(value).max(axis=1, keepdims=True) / 127
            assert (np.abs(found[name] - value) <= 0.501 * step).all()
        else:
            np.testing.assert_allclose(found[name], value, rtol=2**-11, atol=1e-7)


def test_forms_get_smaller_and_the_same_bytes_are_the_same_weights(weights):
    sizes = [len(to_bytes(packed(weights, form))) for form in ("float32", "float16", "int8")]
    assert sizes[0] > 1.7 * sizes[1] > 1.7 * 1.2 * sizes[2]
    for form in ("float16", "int8"):
        once = widened(packed(weights, form))
        again = widened(packed(once, form))
        for name in once:
            np.testing.assert_allclose(once[name], again[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("form", ["float16", "int8"])
def test_nan_stays_nan_so_that_it_is_refused(weights, form):
    bad = weights | {"gru.kernel": np.full_like(weights["gru.kernel"], np.nan)}
    with pytest.raises(ValueError, match="not finite"):
        check(widened(packed(bad, form)), ModelConfig())


def test_a_scale_of_another_shape_or_without_its_rows_is_refused(weights):
    found = packed(weights, "int8")
    for wrong in (
        found | {"table.tag.rows.scale": np.ones(3, np.float32)},
        found | {"gru.bogus.scale": np.ones(3, np.float32)},
        {name: value for name, value in found.items() if name != "table.tag.rows.scale"},
    ):
        with pytest.raises(ValueError, match="shape"):
            check(widened(wrong), ModelConfig())


@pytest.mark.parametrize("form", ["float16", "int8"])
def test_statistics_stay_as_the_manifest_tells_them(weights, form):
    told = weights | {STANDARD: np.array([[99_999.0], [0.6001], [0.15001]], np.float32)}
    found = widened(from_bytes(to_bytes(packed(told, form))))
    check(found, ModelConfig())
    assert np.array_equal(found[STANDARD], told[STANDARD])
