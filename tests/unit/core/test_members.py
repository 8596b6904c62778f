import numpy as np
import pytest

from streams.core.members import LANES, Members
from streams.core.scan import nearest

DEPTH = 8


def held(members):
    """What a scan reads, as {slot: (cell, vector)}, and whether every cell's blocks are its own."""
    found, blocks = {}, []
    for cell, count in enumerate(members.counts.tolist()):
        blocks += members.table[cell, : -(-count // LANES)].tolist()
        for place in range(count):
            block, lane = members.table[cell, place // LANES], place % LANES
            slot = int(members.ids[block, lane])
            assert slot not in found
            found[slot] = cell, members.blocks[block, :, lane].tolist()
    assert len(blocks) == len(set(blocks))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_members_are_what_was_put_and_not_dropped(seed):
    rng = np.random.default_rng(seed)
    members, wanted = Members(7, DEPTH), {}
    for _ in range(30):
        free = np.setdiff1d(np.arange(3_000), np.array(list(wanted), np.int64))
        slots = rng.permutation(free)[: rng.integers(400)]
        vectors, cells = rng.normal(size=(len(slots), DEPTH)).astype(np.float32), rng.integers(7, size=len(slots)) // 2
        members.put(slots, vectors, cells)
        wanted |= {
            slot: (cell, row) for slot, cell, row in zip(slots.tolist(), cells.tolist(), vectors.tolist(), strict=True)
        }
        gone = rng.permutation(4_000)[: rng.integers(1_500)]
        members.drop(gone)
        wanted = {slot: one for slot, one in wanted.items() if slot not in set(gone.tolist())}
        assert held(members) == wanted
        assert len(members) == len(wanted)


def test_an_emptied_cell_takes_its_blocks_again():
    members, slots = Members(2, DEPTH), np.arange(5 * LANES)
    for _ in range(20):
        members.put(slots, np.ones((len(slots), DEPTH), np.float32), np.zeros(len(slots), np.int64))
        members.drop(slots)
    assert members.blocks.shape[0] == 5


def plain(queries, promises, probes, members, wanted):
    """The same one number after the other: float32 products added up from the first direction to the last."""
    found = np.full((len(queries), wanted), -1)
    everything = held(members)
    for row, (query, promise) in enumerate(zip(queries, promises, strict=True)):
        cells = set(np.lexsort((np.arange(len(promise)), -promise))[:probes].tolist())
        slots = np.array([slot for slot, (cell, _) in everything.items() if cell in cells], np.int64)
        total = np.zeros(len(slots), np.float32)
        vectors = np.array([everything[slot][1] for slot in slots.tolist()], np.float32).reshape(-1, DEPTH)
        for direction in range(DEPTH):
            total = total + query[direction] * vectors[:, direction]
        finite = np.abs(total) < np.inf
        best = slots[finite][np.lexsort((slots[finite], -total[finite]))][:wanted]
        found[row, : len(best)] = best
    return found


@pytest.mark.parametrize("wanted", [1, 20, 64, 300])
@pytest.mark.parametrize("kind", ["normal", "ties", "odd", "few"])
def test_a_scan_finds_the_largest_products_of_the_most_promising_cells(wanted, kind):
    rng = np.random.default_rng(wanted)
    count, cells = (150, 64) if kind == "few" else (6_000, 64)
    vectors = rng.normal(size=(count, DEPTH)).astype(np.float32)
    queries = rng.normal(size=(9, DEPTH)).astype(np.float32)
    if kind == "ties":
        vectors, queries = np.round(vectors), np.round(queries)
    if kind == "odd":
        vectors[::50, 1], vectors[1::50, 2], vectors[2::50] = np.nan, np.inf, -0.0
    promises = np.round(rng.normal(size=(9, cells)), 1).astype(np.float32)
    promises[:, -9:] = -np.inf
    members, slots = Members(cells, DEPTH), rng.permutation(10_000)[:count]
    members.put(slots, vectors, rng.integers(cells, size=count))
    members.drop(slots[::7])
    parts = members.blocks.reshape(len(members.blocks), -1), members.ids, members.table, members.counts
    for probes in (3, 20):
        with np.errstate(invalid="ignore"):
            expected = plain(queries, promises, probes, members, wanted)
        assert np.array_equal(nearest(queries, promises, probes, *parts, wanted), expected)


def test_a_query_that_is_no_number_finds_nothing():
    members = Members(64, DEPTH)
    members.put(np.arange(500), np.ones((500, DEPTH), np.float32), np.arange(500) % 64)
    nothing = np.full((1, DEPTH), np.nan, np.float32), np.full((1, 64), np.nan, np.float32)
    parts = members.blocks.reshape(len(members.blocks), -1), members.ids, members.table, members.counts
    assert (nearest(*nothing, 8, *parts, 20) == -1).all()
