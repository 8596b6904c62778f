"""Only manifests that were signed with the key serve."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace

from model.manifest import decode_current, decode_manifest
from model.publish import Piece, current_record, records
from model.registry import Registry
from model.weights import to_bytes
from streams.codecs import encode
from tests.versions import SMALL, grown, manifest

KEY, OTHER = b"a key of sixteen or more", b"another key, as long as that"


def serving(pieces, key):
    """Return the version that serves after these records, and what was refused."""
    registry = Registry("default", SMALL, key=key)
    refused = [said for piece in pieces if (said := registry.feed(piece.key, piece.value))]
    return registry.current(), refused


def version(key):
    return [*records(manifest(1), to_bytes(grown(SMALL, 1)), key), current_record("default", 1, 1, "", key=key)]


def test_a_signed_version_serves_with_its_key_and_without_any():
    assert serving(version(KEY), KEY)[0].number == 1
    assert serving(version(KEY), b"")[0].number == 1
    assert serving(version(b""), b"")[0].number == 1


@pytest.mark.parametrize("made_with", [b"", OTHER])
def test_one_without_signature_or_with_anothers_is_refused(made_with):
    current, refused = serving(version(made_with), KEY)
    assert current is None
    assert refused[0].startswith("signature: the manifest of version 1")


def test_a_manifest_that_was_changed_is_refused():
    chunk, about, current = version(KEY)
    signed = decode_manifest(about.value)
    for change in ({"trained_through": 10**6}, {"sha256": "0" * 64}, {"parent": 7}):
        forged = Piece(about.key, encode(replace(signed, **change)))
        found, refused = serving([chunk, forged, current], KEY)
        assert found is None
        assert refused[0].startswith("signature")


def test_only_who_has_the_key_says_which_signed_version_serves():
    chunk, about, current = version(KEY)
    signed = decode_current(current.value)
    second = records(manifest(2), to_bytes(grown(SMALL, 2)), KEY)
    forgeries = [
        current_record("default", 2, 1, ""),
        current_record("default", 2, 1, "", key=OTHER),
        current_record("another", 2, 2, "", key=KEY),  # signed, but for another lineage
        *(Piece(current.key, encode(replace(signed, **one))) for one in ({"epoch": 2}, {"version": 2}, {"canary": 2})),
    ]
    for forged in forgeries:
        found, refused = serving([chunk, about, *second, current, Piece(current.key, forged.value)], KEY)
        assert found.number == 1, "the one before it goes on"
        assert len(refused) == 1
        assert refused[0].startswith("signature: what names")
    found, refused = serving([chunk, about, *second, current, current_record("default", 2, 2, "", key=KEY)], KEY)
    assert (found.number, refused) == (2, [])


def test_signatures_of_different_versions_differ():
    signatures = [records(manifest(number), b"", KEY)[-1].value[-80:] for number in range(1, 4)]
    assert all(one != other for one, other in pairwise(signatures))
