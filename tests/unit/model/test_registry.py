"""Versions from records: what serves, what is refused and why, and what stays in memory."""

import pickle
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from model.config import ModelConfig
from model.manifest import (
    ChunkKey,
    CurrentKey,
    Evaluation,
    ManifestKey,
    chunk_key,
    current_key,
    decode_current,
    decode_manifest,
    manifest_key,
    parse_key,
)
from model.publish import CHUNK_BYTES, Piece, records
from model.registry import Registry
from model.weights import to_bytes
from streams.codecs import encode
from streams.core.behaviour import FEATURES
from tests.versions import NAME, SMALL, grown, manifest, pieces, serve


def make(**options) -> Registry:
    return Registry(NAME, SMALL, **options)


def feed(registry: Registry, *records_: Piece) -> list[str]:
    refused = [registry.feed(piece.key, piece.value) for piece in records_]
    return [reason for reason in refused if reason]


def number(registry: Registry) -> int | None:
    current = registry.current()
    return current.number if current else None


def large(version: int) -> list[Piece]:
    """A sound version in three chunks."""
    weights = grown(SMALL, version)
    rows = 2 * CHUNK_BYTES // (8 + 3 * 4) + 100
    weights["table.tag.keys"] = np.arange(1, rows + 1, dtype=np.int64)
    weights["table.tag.rows"] = np.full((rows, 3), version, np.float32)
    return records(manifest(version), to_bytes(weights))


def test_nothing_serves_before_current_names_a_version():
    registry = make()
    assert feed(registry, *pieces(1)) == []
    assert registry.current() is None
    assert feed(registry, serve(1, 1)) == []
    assert number(registry) == 1


def test_a_version_serves_the_weights_that_were_published():
    registry = make()
    feed(registry, *large(1), serve(1, 1))
    current = registry.current()
    assert len(large(1)) == 4
    assert current.manifest.trained_through == current.scorer().trained_through == 1000
    assert current.scorer() is current.scorer()
    np.testing.assert_array_equal(current.weights["gru.kernel"], grown(SMALL, 1)["gru.kernel"])


def test_half_a_version_never_serves_and_the_one_before_it_goes_on():
    registry = make()
    feed(registry, *pieces(1), serve(1, 1))
    first, second, third, about = large(2)
    assert feed(registry, first, third, about) == []
    assert feed(registry, serve(2, 2)) == ["incomplete: version 2 has 2 of 3 chunks"]
    assert number(registry) == 1
    assert registry.named.version == 2
    assert feed(registry, second) == []  # complete, and swapped in at once
    assert number(registry) == 2


def test_a_version_without_its_manifest_does_not_serve():
    registry = make()
    *chunks, about = pieces(1)
    assert feed(registry, *chunks, serve(1, 1)) == ["incomplete: version 1 has no manifest"]
    assert registry.current() is None
    assert feed(registry, about) == []
    assert number(registry) == 1


def test_other_lineages_are_ignored():
    registry = make()
    others = [replace(piece, key=piece.key.replace(b"default", b"other")) for piece in (*pieces(1), serve(1, 1))]
    assert feed(registry, *others) == []
    assert registry.manifests == {}
    assert registry.current() is None


@pytest.mark.parametrize(
    "rest",
    ["", "/", "/x", "/1", "/1/chunk", "/1/chunk/x", "/-1/manifest", "/01/manifest", "/1/chunk/0/0", "/current/"]
    + ["/" + "9" * 40 + "/manifest"],
)
def test_unknown_keys_of_the_lineage_are_refused(rest):
    (reason,) = feed(make(), Piece(f"default{rest}".encode(), b"x"))
    assert reason.startswith("key: ")
    assert len(reason) < 200


def test_keys_that_are_not_text():
    assert feed(make(), Piece(b"\xff\xfe/1/manifest", b"x"), Piece(b"", b"x")) == []


def corrupt(piece: Piece) -> Piece:
    middle = len(piece.value) // 2
    return replace(piece, value=piece.value[:middle] + bytes([piece.value[middle] ^ 1]) + piece.value[middle + 1 :])


def test_a_flipped_bit_is_refused_until_the_right_chunk_comes():
    registry = make()
    feed(registry, *pieces(1), serve(1, 1))
    chunk, about = pieces(2)
    (reason,) = feed(registry, corrupt(chunk), about)
    assert reason.startswith("hash: ")
    assert feed(registry, serve(2, 2)) == [reason]
    assert number(registry) == 1
    assert feed(registry, chunk) == []
    assert number(registry) == 2


def published(weights: bytes, **fields) -> list[Piece]:
    return records(manifest(1, **fields), weights)


NAN = grown()
NAN["user.bias"][0] = np.nan
UNSORTED = grown()
UNSORTED["table.tag.keys"] = UNSORTED["table.tag.keys"][::-1]


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (published(pickle.dumps({"a": 1})), "pickle"),
        (published(b"not safetensors at all"), "format"),
        (published(to_bytes(NAN)), "not-finite"),
        (published(to_bytes(UNSORTED)), "keys"),
        (published(to_bytes({"x": np.zeros(3, np.float32)})), "shape"),
        (pieces(1, ModelConfig(hidden_size=16, embedding_size=4, category_size=3)), "shape"),
    ],
)
def test_unsound_versions_are_refused_by_name_and_never_serve(found, word):
    registry = make()
    (reason,) = set(feed(registry, *found))
    assert reason.startswith(f"{word}: ")
    assert feed(registry, serve(1, 1)) == [reason]
    assert registry.current() is None
    assert registry.version(1) is None
    assert registry.why_not(1) == reason


def test_other_behaviour_features_do_not_fit():
    *chunks, about = pieces(1)
    other = msgspec.structs.replace(decode_manifest(about.value), features=(*FEATURES[:-1], "something_else"))
    (reason,) = feed(make(), *chunks, replace(about, value=encode(other)))
    assert reason == "shape: version 1 has other behaviour features"


@pytest.mark.parametrize(
    "value",
    [b"", b"\xc1", b"{", b"[]", b'{"schema": 2}', b'{"schema": 1, "name": "default"}', b"x" * 70_000]
    + [encode(manifest(1)).replace(b"default", b"defaul\xff")],
)
def test_manifests_that_cannot_be_read(value):
    registry = make()
    (reason,) = feed(registry, Piece(manifest_key(NAME, 1), value))
    assert reason.startswith("manifest: ")
    assert registry.manifests == {}


@pytest.mark.parametrize("about", [manifest(2), manifest(1, name="other")])
def test_a_manifest_under_another_key(about):
    (reason,) = feed(make(), Piece(manifest_key(NAME, 1), encode(about)))
    assert reason.startswith("manifest: under the key of version 1 is ")


def test_a_manifest_may_be_json():
    *chunks, about = pieces(1)
    registry = make()
    value = msgspec.json.encode(decode_manifest(about.value))
    assert feed(registry, *chunks, replace(about, value=value), serve(1, 1)) == []
    assert number(registry) == 1


def test_a_sound_version_never_becomes_another():
    registry = make()
    feed(registry, *pieces(1), serve(1, 1))
    chunk, about = records(manifest(1), to_bytes(grown(SMALL, 99)))
    (reason,) = feed(registry, chunk, about)
    assert reason == "manifest: version 1 is another already; a version never changes"
    np.testing.assert_array_equal(registry.current().weights["user.bias"], grown(SMALL, 1)["user.bias"])


def test_empty_chunk():
    assert feed(make(), Piece(chunk_key(NAME, 1, 0), b"")) == ["chunk: chunk 0 of version 1 is empty"]


def test_an_older_epoch_is_refused_and_a_rollback_is_a_newer_one():
    registry = make()
    feed(registry, *pieces(1), *pieces(2), serve(1, 1), serve(2, 2))
    assert feed(registry, serve(1, 1)) == ["epoch: 1 (version 1) is not beyond 2"]
    assert feed(registry, serve(1, 2)) == ["epoch: 2 (version 1) is not beyond 2"]
    assert number(registry) == 2
    assert feed(registry, serve(2, 2)) == []  # the same record again, as after a retry
    assert feed(registry, serve(1, 3)) == []
    assert number(registry) == 1


def test_what_serves_cannot_be_deleted():
    registry = make()
    feed(registry, *pieces(1), serve(1, 1))
    (reason,) = feed(registry, Piece(current_key(NAME), None))
    assert reason.startswith("current: ")
    assert number(registry) == 1


@pytest.mark.parametrize("value", [b"", b"{}", b'{"epoch": 0, "version": 1}', b'{"epoch": 1, "version": -1}'])
def test_current_that_cannot_be_read(value):
    (reason,) = feed(make(), Piece(current_key(NAME), value))
    assert reason.startswith("current: ")


def test_version_0_is_made_from_the_seed_and_can_be_gone_back_to():
    registry = make()
    feed(registry, *pieces(1), serve(1, 1))
    assert feed(registry, serve(0, 2)) == []
    assert number(registry) == 0
    assert registry.current().scorer().version == 0


def test_version_0_cannot_be_published():
    (reason,) = feed(make(), Piece(manifest_key(NAME, 0), encode(manifest(0, parent=0, sha256="0" * 64))))
    assert reason.startswith("manifest: version 0 is another already")


def held(registry: Registry, upto: int) -> list[int]:
    return [version for version in range(1, upto) if registry.version(version)]


def test_weights_of_few_versions_stay_in_memory():
    registry = make(frozen_after=3000, kept=2)
    for version in range(1, 30):
        feed(registry, *pieces(version), serve(version, version))
    assert held(registry, 30) == [3, 27, 28, 29]
    assert len(registry.manifests) == 29
    assert registry.first_at_least(3000).number == 3


def test_pieces_of_versions_that_never_became_whole_go_too():
    registry = make(kept=2)
    for version in range(1, 30):
        first, *_ = large(version)
        feed(registry, first)
    assert len(registry._pieces) == 2


def test_a_version_out_of_memory_serves_once_it_is_sent_again():
    registry = make(kept=1)
    for version in range(1, 6):
        feed(registry, *pieces(version), serve(version, version))
    assert feed(registry, serve(1, 6)) == ["incomplete: version 1 is no longer in memory"]
    assert number(registry) == 5
    assert feed(registry, *pieces(1)) == []
    assert number(registry) == 1


def test_the_first_past_a_count_is_the_lowest_that_was_accepted():
    registry = make(frozen_after=2500, kept=100)
    feed(registry, *pieces(4), *pieces(2), *pieces(3, evaluation=Evaluation(accepted=False)))
    assert registry.first_at_least(2500).number == 4
    assert registry.first_at_least(0).number == 2
    assert registry.first_at_least(4001) is None


def test_a_version_in_use_outlives_its_tombstones():
    registry = make()
    feed(registry, *pieces(1), *pieces(2), serve(1, 1))
    for version in (1, 2):
        feed(registry, Piece(chunk_key(NAME, version, 0), None), Piece(manifest_key(NAME, version), None))
    assert number(registry) == 1
    assert registry.version(2) is None
    assert registry.manifests == {}
    assert registry.chunks == {}


def test_a_refused_candidate_is_known_by_its_manifest_alone():
    registry = make()
    (about,) = records(manifest(1, evaluation=Evaluation(accepted=False, reason="worse")), b"")
    assert feed(registry, about) == []
    assert registry.manifests[1].evaluation.reason == "worse"
    assert feed(registry, serve(1, 1)) == ["incomplete: version 1 was published without weights"]


@pytest.mark.parametrize(
    ("key", "about"),
    [
        (chunk_key(NAME, 12, 3), ChunkKey(12, 3)),
        (manifest_key(NAME, 12), ManifestKey(12)),
        (current_key(NAME), CurrentKey()),
    ],
)
def test_keys_there_and_back(key, about):
    assert parse_key(key, NAME) == about
    assert parse_key(key, "another") is None


def test_current_there_and_back():
    found = decode_current(serve(3, 4).value)
    assert (found.version, found.epoch, found.reason) == (3, 4, "test")
