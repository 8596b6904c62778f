"""A version as records: what is sent, in which order, and what is taken back later."""

import pytest

from model.manifest import Evaluation, decode_manifest
from model.publish import CHUNK_BYTES, Piece, current_record, kept_versions, records, tombstones
from model.registry import Registry
from model.weights import sha256, to_bytes
from streams.core.behaviour import FEATURES
from tests.versions import NAME, SMALL, grown, manifest, pieces, serve


def keys(found: list[Piece]) -> list[str]:
    return [piece.key.decode() for piece in found]


@pytest.mark.parametrize(
    ("size", "chunks"), [(1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (3 * CHUNK_BYTES, 3), (0, 0)]
)
def test_chunks_come_first_and_the_manifest_completes_them(size, chunks):
    weights = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    weights = weights[:size]
    *parts, about = records(manifest(7), weights)
    assert keys(parts) == [f"default/7/chunk/{index}" for index in range(chunks)]
    assert about.key == b"default/7/manifest"
    assert b"".join(part.value for part in parts) == weights
    assert all(len(part.value) <= CHUNK_BYTES for part in parts)


def test_the_manifest_is_sealed():
    weights = to_bytes(grown())
    found = decode_manifest(records(manifest(7), weights)[-1].value)
    assert (found.sha256, found.bytes, found.chunks, found.features) == (sha256(weights), len(weights), 1, FEATURES)
    assert (found.version, found.parent, found.trained_through) == (7, 6, 7000)


def test_a_refused_candidate_is_its_manifest_alone():
    (about,) = records(manifest(7, evaluation=Evaluation(accepted=False, reason="worse")), b"")
    found = decode_manifest(about.value)
    assert (found.chunks, found.bytes, found.sha256) == (0, 0, "")
    assert not found.evaluation.accepted


def test_a_long_reason_is_cut():
    registry = Registry(NAME, SMALL)
    for piece in (*pieces(1), current_record(NAME, 1, 1, "because " * 100)):
        assert registry.feed(piece.key, piece.value) is None
    assert len(registry.named.reason) == 300
    about = records(manifest(2, evaluation=Evaluation(reason="because " * 100)), b"weights")[-1]
    assert len(decode_manifest(about.value).evaluation.reason) == 300


def sealed(*versions: int, refused: tuple[int, ...] = (), **parents: int):
    found = {}
    for version in versions:
        fields = {"parent": parents.get(f"p{version}", version - 1)}
        evaluation = Evaluation(accepted=version not in refused)
        weights = b"" if version in refused else b"weights"
        about = records(manifest(version, evaluation=evaluation, **fields), weights)[-1]
        found[version] = decode_manifest(about.value)
    return found


@pytest.mark.parametrize(
    ("current", "frozen_after", "kept"),
    [
        (10, None, {10, 9, 8, 7}),
        (10, 3500, {10, 9, 8, 7, 4}),
        (10, 10_500, {10, 9, 8, 7}),
        (2, None, {10, 9, 8, 7, 2, 1, 0}),
        (0, None, {10, 9, 8, 7, 0}),
    ],
)
def test_kept_are_the_newest_the_current_its_ancestors_and_the_frozen(current, frozen_after, kept):
    assert kept_versions(sealed(*range(1, 11)), current, frozen_after, keep=4) == kept


def test_refused_candidates_do_not_push_out_weights():
    found = sealed(*range(1, 11), refused=(10, 9, 8, 7), p6=2, p2=1)
    assert kept_versions(found, 6, 7000, keep=2) == {6, 5, 2, 1}


def published(registry: Registry, *versions: int) -> None:
    for version in versions:
        for piece in (*pieces(version), serve(version, version)):
            assert registry.feed(piece.key, piece.value) is None


def test_tombstones_take_back_what_is_not_kept_and_only_once():
    registry = Registry(NAME, SMALL, frozen_after=2000)
    published(registry, *range(1, 9))
    kept = kept_versions(registry.manifests, 8, 2000, keep=2)
    gone = tombstones(NAME, registry.manifests, registry.chunks, kept, keep_manifests=3)
    assert keys(gone) == [
        *(f"default/{version}/chunk/0" for version in (1, 3, 4, 5)),
        "default/1/manifest",
    ]
    assert {piece.value for piece in gone} == {None}
    for piece in gone:
        assert registry.feed(piece.key, piece.value) is None
    assert tombstones(NAME, registry.manifests, registry.chunks, kept, keep_manifests=3) == []
    assert registry.current().number == 8
    assert registry.first_at_least(2000).number == 2


def test_chunks_left_over_from_a_longer_attempt_are_taken_back():
    registry = Registry(NAME, SMALL)
    for index in range(3):
        registry.feed(f"default/1/chunk/{index}".encode(), b"of an attempt that died")
    published(registry, 1)
    gone = tombstones(NAME, registry.manifests, registry.chunks, {1})
    assert keys(gone) == ["default/1/chunk/1", "default/1/chunk/2"]


def test_chunks_of_a_version_that_is_still_being_sent_stay():
    registry = Registry(NAME, SMALL)
    published(registry, 1)
    registry.feed(b"default/2/chunk/0", b"more is to come")
    assert tombstones(NAME, registry.manifests, registry.chunks, {1}) == []
