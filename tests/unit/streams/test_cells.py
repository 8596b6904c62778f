import numpy as np
import pytest

from streams.cells import CellIndex
from streams.config import load_settings
from streams.configured import make_pool
from tests.fakes import FakeScorer, video

COUNT, SIZE = 6000, 12


@pytest.fixture(scope="module")
def space():
    """Keys near 40 centres, and queries that tell apart only some directions."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(40, SIZE))
    keys = (centres[rng.integers(40, size=COUNT)] + 0.5 * rng.normal(size=(COUNT, SIZE))).astype(np.float32)
    queries = (rng.normal(size=(300, 4)) @ rng.normal(size=(4, SIZE)) + 0.5).astype(np.float32)
    return queries[:200], np.arange(COUNT) * 3, keys, queries[200:]


def recall(index, queries, slots, keys):
    found = index.search(queries, 64)
    best = np.argsort(-(queries @ keys.T), axis=1)[:, :20]
    return np.mean([len(np.intersect1d(row, slots[some])) / 20 for row, some in zip(found, best, strict=True)])


def test_a_few_cells_hold_nearly_all_of_the_best(space):
    expected, slots, keys, queries = space
    assert recall(CellIndex(expected, slots, keys, 12), queries, slots, keys) >= 0.95


def test_it_is_laid_out_for_the_queries_that_come(space):
    expected, slots, keys, queries = space
    anything = np.random.default_rng(2).normal(size=expected.shape).astype(np.float32)
    fitted, plain = (CellIndex(given, slots, keys, 4) for given in (expected, anything))
    assert recall(fitted, queries, slots, keys) > recall(plain, queries, slots, keys) + 0.02


def test_what_a_query_finds_does_not_depend_on_its_batch(space):
    expected, slots, keys, queries = space
    index = CellIndex(expected, slots, keys, 6)
    whole = index.search(queries, 64)
    order = np.random.default_rng(3).permutation(len(queries))
    assert np.array_equal(whole[order], index.search(queries[order], 64))
    assert np.array_equal(whole[17:18], index.search(queries[17:18], 64))


def test_keys_come_go_and_move(space):
    expected, slots, keys, queries = space
    index = CellIndex(expected, slots[:3000], keys[:3000], 64)
    index.put(slots[3000:], keys[3000:])
    assert recall(index, queries, slots, keys) >= 0.99
    best = index.search(queries[:1], 64)[0][:1]
    index.drop(np.concatenate([best, [999_999]]))
    index.drop(best)
    assert len(index) == COUNT - 1
    assert best[0] not in index.search(queries[:1], 64)
    index.put(slots[:1], 9 * queries[:1])
    assert index.search(queries[:1], 64)[0][0] == slots[0]
    assert len(index) == COUNT - (0 if best[0] == slots[0] else 1)


def test_fewer_than_wanted_are_filled_up(space):
    expected, slots, keys, queries = space
    found = CellIndex(expected, slots[:5], keys[:5], 12).search(queries[:2], 64)
    assert found.shape == (2, 64)
    assert sorted(found[0][found[0] >= 0].tolist()) == slots[:5].tolist()


@pytest.mark.parametrize(("capacity", "indexed"), [(34_816, False), (34_824, True)])
def test_a_pool_has_an_index_only_where_slates_ask_one(capacity, indexed):
    pool = make_pool(load_settings(pool_capacity=capacity, index_from=8))
    pool.add([video(number) for number in range(16)])
    assert (pool.encoded(FakeScorer()).index is not None) == indexed
