"""Names, shapes and bytes of weights, and everything that must not serve."""

import io
import pickle

import msgspec
import numpy as np
import pytest

from model.config import ModelConfig, model_config
from model.serving import NumpyScorer
from model.weights import WeightsError, check, fitted, from_bytes, initial, sha256, specs, to_bytes
from streams.core.behaviour import BEHAVIOUR_SIZE
from tests.versions import SMALL, clip, grown, with_profiles

CONCAT = ModelConfig(head="concat", hidden_size=8, embedding_size=4, category_size=3)


def test_sizes_follow_the_configuration():
    shapes = {name: spec.shape for name, spec in specs(SMALL).items()}
    assert shapes["gru.kernel"] == (4 + BEHAVIOUR_SIZE, 24)
    assert shapes["gru.recurrent"] == (8, 24)
    assert shapes["gru.bias"] == (2, 24)
    assert shapes["video.kernel"] == (3 * 3 + 4, 4)
    assert shapes["table.video.rows"] == (-1, 5)
    assert shapes["table.tag.rows"] == (-1, 3)
    assert shapes["head.interaction"] == (4, 4)
    assert "head.interaction" not in specs(CONCAT)


@pytest.mark.parametrize("config", [SMALL, CONCAT, ModelConfig()])
def test_first_weights_can_serve_and_depend_on_the_seed_alone(config):
    weights = initial(config)
    check(weights, config)
    assert to_bytes(initial(config)) == to_bytes(weights)
    assert to_bytes(initial(msgspec.structs.replace(config, seed=2))) != to_bytes(weights)


def test_bytes_there_and_back_are_equal_to_the_bit():
    weights = grown()
    back = from_bytes(to_bytes(weights))
    check(back, SMALL)
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


def test_equal_weights_give_equal_bytes_in_any_order_and_layout():
    weights = grown()
    turned = {name: np.asfortranarray(value) for name, value in reversed(weights.items())}
    assert sha256(to_bytes(turned)) == sha256(to_bytes(weights))


def broken(name, value):
    return grown() | {name: value}


NAN = grown()["user.bias"].copy()
NAN[1] = np.nan
KEYS = grown()["table.tag.keys"]


@pytest.mark.parametrize(
    ("weights", "reason", "word"),
    [
        ({k: v for k, v in grown().items() if k != "gru.bias"}, "shape", "gru.bias is missing"),
        (broken("more", np.zeros(3, np.float32)), "shape", "more is unknown"),
        (broken("user.bias", np.zeros(5, np.float32)), "shape", r"user.bias is float32 \[5\], not float32 \[4\]"),
        (broken("user.bias", np.zeros((4, 1), np.float32)), "shape", "user.bias"),
        (broken("user.bias", np.zeros(4, np.float64)), "shape", "float64"),
        (broken("table.tag.keys", KEYS.astype(np.float32)), "shape", "table.tag.keys"),
        (broken("table.tag.keys", KEYS[:-1]), "shape", "8 keys and 9 rows"),
        (broken("user.bias", NAN), "not-finite", "user.bias"),
        (broken("head.interaction", np.full((4, 4), np.inf, np.float32)), "not-finite", "head.interaction"),
        (broken("table.tag.keys", KEYS[::-1].copy()), "keys", "table.tag.keys do not ascend"),
        (broken("table.tag.keys", np.repeat(KEYS[:1], 9)), "keys", "table.tag.keys"),
    ],
)
def test_what_must_not_serve(weights, reason, word):
    with pytest.raises(WeightsError, match=word) as caught:
        check(weights, SMALL)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{reason}: ")


def test_keys_further_apart_than_half_the_range_ascend():
    keys = np.array([-(2**63) + 1, 2**63 - 1], np.int64)  # their difference overflows
    check(broken("table.tag.keys", keys) | {"table.tag.rows": np.zeros((2, 3), np.float32)}, SMALL)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def npz() -> bytes:
    held = io.BytesIO()
    np.savez(held, a=np.zeros(3))
    return held.getvalue()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pickle.dumps(Trap()), "pickle"),
        (pickle.dumps({"a": 1}, protocol=2), "pickle"),
        (pickle.dumps(Trap(), protocol=0), "format"),
        (npz(), "format"),
        (b"", "format"),
        (b"\x00" * 8, "format"),
        (b"\xff" * 100, "format"),
        (to_bytes(grown())[:-1], "format"),
        (to_bytes(grown())[:40], "format"),
        (to_bytes(grown()) + b"more", "format"),
    ],
)
def test_bytes_that_are_not_safetensors(value, reason):
    with pytest.raises(WeightsError) as caught:
        from_bytes(value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_size", 0), ("embedding_size", 5000), ("category_size", -1), ("head", "dot"), ("seed", -1)],
)
def test_a_configuration_that_makes_no_sense_is_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ModelConfig(**{field: value})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({field: value}), type=ModelConfig)


def test_configuration_from_settings(make_settings):
    settings = make_settings(head="concat", hidden_size=16, embedding_size=8, model_seed=5, media_inputs="text,frames")
    wanted = ModelConfig(head="concat", hidden_size=16, embedding_size=8, seed=5, media=("frames", "text"))
    assert model_config(settings) == wanted
    assert model_config(make_settings(taste_memory=True)).memory
    assert not model_config(make_settings(taste_memory=True, hidden_size=32)).memory  # there is no room for one
    assert model_config(make_settings(media_inputs="")).media == ()


def test_differences_name_what_does_not_fit_and_a_seed_always_does():
    other = ModelConfig(hidden_size=8, embedding_size=4, category_size=5, seed=99)
    assert SMALL.differences(other) == ["category_size 5, not 3"]
    assert SMALL.differences(msgspec.structs.replace(SMALL, seed=99)) == []


REMEMBERING = msgspec.structs.replace(SMALL, memory=True)


@pytest.mark.parametrize(("config", "wanted"), [(SMALL, REMEMBERING), (REMEMBERING, SMALL)])
def test_what_is_known_of_videos_stays_when_a_memory_comes_or_goes(config, wanted):
    old = with_profiles(grown(config), config)
    found = fitted(old, config, wanted)
    check(found, wanted)
    videos = [clip(number) for number in range(10)]
    for mine, theirs in zip(
        NumpyScorer(found, wanted, 1, 0).encode(videos), NumpyScorer(old, config, 1, 0).encode(videos), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(found["user.kernel"], initial(wanted)["user.kernel"])
    assert wanted.differences(config) == []  # both serve beside each other


def test_a_memory_needs_hidden_units_of_its_own():
    with pytest.raises(ValueError, match="hidden_size must be beyond 4"):
        ModelConfig(hidden_size=4, embedding_size=4, memory=True)
    assert msgspec.json.decode(b"{}", type=ModelConfig).memory is False  # a manifest of before there was one
