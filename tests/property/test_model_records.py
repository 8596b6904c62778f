"""Versions through a topic that reorders, repeats, loses and damages records: only whole and sound ones ever serve."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model import publish
from model.publish import Piece
from model.registry import Registry
from model.weights import to_bytes
from tests.versions import NAME, SMALL, grown, manifest, serve

VERSIONS = 3
CHUNK = 700  # a version has some six chunks
WEIGHTS = {version: grown(SMALL, version, videos=5) for version in range(1, VERSIONS + 1)}


def cut(version: int) -> list[Piece]:
    before, publish.CHUNK_BYTES = publish.CHUNK_BYTES, CHUNK
    try:
        return publish.records(manifest(version), to_bytes(WEIGHTS[version]))
    finally:
        publish.CHUNK_BYTES = before


PIECES = {version: cut(version) for version in WEIGHTS}
RECORDS = [*(piece for pieces in PIECES.values() for piece in pieces), *(serve(v, v) for v in WEIGHTS)]
LAST = serve(VERSIONS, VERSIONS)


def damage(piece: Piece, at: int, bit: int) -> Piece:
    value = bytearray(piece.value)
    value[at % len(value)] ^= 1 << bit
    return replace(piece, value=bytes(value))


def weights_agree(registry: Registry) -> bool:
    current = registry.current()
    if current is None:
        return True
    expected = WEIGHTS[current.number]
    return all(np.array_equal(current.weights[name], value) for name, value in expected.items())


streams = st.lists(
    st.tuples(st.integers(0, len(RECORDS) - 1), st.booleans(), st.integers(0, 10_000), st.integers(0, 7)), max_size=60
)


@settings(max_examples=100, deadline=None)
@given(stream=streams, order=st.permutations(range(len(RECORDS))))
def test_whatever_comes_only_sound_versions_serve_and_what_is_whole_at_the_end_does(stream, order):
    registry = Registry(NAME, SMALL)
    for index, damaged, at, bit in stream:
        piece = damage(RECORDS[index], at, bit) if damaged and b"chunk" in RECORDS[index].key else RECORDS[index]
        registry.feed(piece.key, piece.value)
        assert weights_agree(registry)
    for index in order:  # then all of it, undamaged, in any order
        registry.feed(RECORDS[index].key, RECORDS[index].value)
        assert weights_agree(registry)
    assert registry.current().number == VERSIONS
    assert all(registry.why_not(version) is None for version in WEIGHTS)


@settings(max_examples=60, deadline=None)
@given(
    lost=st.sets(st.integers(0, len(PIECES[VERSIONS]) - 1), min_size=1),
    order=st.permutations(range(len(PIECES[VERSIONS]))),
)
def test_a_version_with_a_lost_record_never_serves(lost, order):
    registry = Registry(NAME, SMALL)
    for piece in (*PIECES[1], serve(1, 1), LAST):
        registry.feed(piece.key, piece.value)
    for index in order:
        if index not in lost:
            registry.feed(PIECES[VERSIONS][index].key, PIECES[VERSIONS][index].value)
        assert registry.current().number == 1
    for index in lost:
        registry.feed(PIECES[VERSIONS][index].key, PIECES[VERSIONS][index].value)
    assert registry.current().number == VERSIONS


@settings(max_examples=100, deadline=None)
@given(index=st.integers(0, len(PIECES[1]) - 1), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_never_changes_weights_that_serve(index, at, bit):
    registry = Registry(NAME, SMALL)
    for number, piece in enumerate((*PIECES[1], serve(1, 1))):
        piece = damage(piece, at, bit) if number == index else piece
        registry.feed(piece.key, piece.value)
    assert weights_agree(registry)
    if index < len(PIECES[1]) - 1:
        assert registry.current() is None  # in a chunk, it is always found out


@settings(max_examples=60, deadline=None)
@given(
    epochs=st.lists(st.tuples(st.integers(1, 9), st.integers(1, VERSIONS)), min_size=1, max_size=20),
)
def test_the_epoch_in_service_only_rises(epochs):
    registry = Registry(NAME, SMALL)
    for pieces in PIECES.values():
        for piece in pieces:
            registry.feed(piece.key, piece.value)
    best = (0, 0)
    for epoch, version in epochs:
        refused = registry.feed(serve(version, epoch).key, serve(version, epoch).value)
        if epoch > best[0]:
            best = (epoch, version)
            assert refused is None
        elif (epoch, version) != best:
            assert refused.startswith("epoch: ")
        assert (registry.named.epoch, registry.current().number) == best


@settings(max_examples=60, deadline=None)
@given(value=st.binary(max_size=200), key=st.sampled_from([piece.key for piece in RECORDS] + [b"", b"default/1/x"]))
def test_noise_never_raises_and_never_serves(value, key):
    registry = Registry(NAME, SMALL)
    registry.feed(key, value)
    for piece in RECORDS:
        if piece.key != key:
            registry.feed(piece.key, piece.value)
            assert weights_agree(registry)
