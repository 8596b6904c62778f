import numpy as np
import pytest

from model.batches import BatchShape, batches
from model.examples import Examples, Limits
from model.features import content, features, residuals
from model.tables import Table, Tables
from streams.core.hashing import key64
from tests.unit.model.test_examples import catalogue, record
from tests.versions import clip

RATES = np.full(3, 0.1, np.float32)


def made(most=100, scale=0.2, decay=0.0):
    return Table(3, scale, RATES, decay, most)


def keys(*names):
    return np.array([key64(name) for name in names], np.int64)


def test_only_growing_gives_rows_and_zero_never_has_one():
    table = made()
    wanted = np.concatenate([keys("a", "b", "a"), [0]])
    assert table.find(wanted, grow=False).tolist() == [-1] * 4
    found = table.find(wanted, grow=True)
    assert found[0] == found[2] != found[1]
    assert found[3] == -1
    assert len(table) == 2
    np.testing.assert_array_equal(table.take(found)[3], np.zeros(3))


def test_a_new_row_depends_on_its_key_alone():
    one, other = made(), made()
    one.find(keys("a", "b"), grow=True)
    other.find(keys("c", "b", "d", "a"), grow=True)
    for name in "ab":
        np.testing.assert_array_equal(*(t.take(t.find(keys(name), grow=False)) for t in (one, other)))
    many = made()
    spread = many.take(many.find(keys(*map(str, range(2000))), grow=True))
    assert spread.std() == pytest.approx(0.2, rel=0.05)
    assert abs(spread.mean()) < 0.01


def test_a_new_row_starts_at_the_mean_of_what_it_goes_with():
    table = made(scale=0.0)
    start = np.array([[1, 0, 0], [0, 2, 0], [3, 0, 0]], np.float32)
    found = table.find(keys("a", "b", "a"), grow=True, start=lambda: start)
    assert table.take(found).tolist() == [[2, 0, 0], [0, 2, 0], [2, 0, 0]]
    # no longer new
    assert table.take(table.find(keys("a"), grow=True, start=lambda: start[:1])).tolist() == [[2, 0, 0]]


def test_a_step_moves_the_rows_of_the_batch_against_their_summed_gradient():
    table = made()
    found = table.find(keys("a", "b", "c"), grow=True)
    before = table.take(found)
    gradients = np.array([[1, -1, 0], [2, -2, 0], [5, 5, 5]], np.float32)
    table.update(np.array([found[0], found[0], -1]), gradients, step=1, warmth=1.0)
    moved = table.take(found) - before
    np.testing.assert_allclose(moved[0], [-0.1, 0.1, 0.0], atol=1e-5)  # Adam's first step is the rate
    assert (moved[1:] == 0).all()


def test_repeated_rows_count_as_one_gradient():
    once, twice = made(), made()
    for table in (once, twice):
        table.find(keys("a"), grow=True)
    for step in (1, 2, 3):
        once.update(np.array([0]), np.array([[0.2, 0.4, -1.0]], np.float32) * step, step, 1.0)
        halves = np.array([[0.1, 0.2, -0.5]] * 2, np.float32) * step
        twice.update(np.array([0, 0]), halves, step, 1.0)
    np.testing.assert_allclose(once.take(np.array([0])), twice.take(np.array([0])), atol=1e-6)


def test_weights_and_moments_come_back_in_order_of_key():
    table = made()
    names = [f"n{at}" for at in range(600)]  # more than the first capacity
    found = table.find(keys(*names), grow=True)
    table.update(found, np.ones((600, 3), np.float32), 1, 1.0)
    own, rows = table.sorted()
    assert (np.diff(own) > 0).all()
    other = made()
    other.load(own, rows)
    other.set_moments(*table.moments())
    for one in (table, other):
        one.update(one.find(keys("n7"), grow=False), np.ones((1, 3), np.float32), 2, 1.0)
    np.testing.assert_array_equal(table.sorted()[1], other.sorted()[1])


def test_the_rows_untouched_for_longest_make_room():
    table = made(most=2)
    found = table.find(keys("a", "b", "c"), grow=True)
    for step, row in enumerate((2, 0), start=1):
        table.update(found[[row]], np.ones((1, 3), np.float32), step, 1.0)
    kept = table.take(found[[0, 2]])
    table.trim()
    assert len(table) == 2
    assert table.find(keys("b"), grow=False).tolist() == [-1]
    np.testing.assert_array_equal(table.take(table.find(keys("a", "c"), grow=False)), kept)


def test_a_batch_sees_what_serving_computes_from_the_same_rows():
    tables = Tables(
        *(Table(4, 0.3, np.full(4, 0.1, np.float32), 0.0, 100) for _ in range(3)),
        Table(6, 0.3, np.full(6, 0.1, np.float32), 0.0, 100),
    )
    store = Examples(catalogue(), Limits(users=10, steps=32, examples=100))
    for offset in range(30):
        store.add(record(offset, user=f"u{offset % 3}", video=f"v{offset}"))
    shape = BatchShape(rows=8, steps=16, examples=64, history=8)
    (batch,) = batches(store, np.arange(30), shape)
    places = tables.places(store.catalogue, batch, grow=True)
    weights = {}
    for name, table in tables.named().items():
        weights[f"table.{name}.keys"], weights[f"table.{name}.rows"] = table.sorted()
    videos = features([clip(number) for number in range(30)])
    found = tables.content(store.catalogue, batch, places, shape.videos)
    order = np.argsort([int(key) for key in store.catalogue.features["key"][batch.videos]])
    expected = np.argsort(videos["key"])
    np.testing.assert_allclose(found[1:31][order], content(videos, weights)[expected], atol=1e-6)
    np.testing.assert_allclose(
        tables.residuals(places, shape.videos)[1:31][order], residuals(videos, weights)[expected], atol=1e-6
    )
    assert not found[0].any()
    assert not found[31:].any()


def test_gradients_of_content_reach_the_rows_they_came_from():
    tables = Tables(
        *(Table(2, 0.3, np.full(2, 0.1, np.float32), 0.0, 100) for _ in range(3)), Table(3, 0.0, RATES, 0.0, 100)
    )
    store = Examples(catalogue(), Limits(users=10, steps=32, examples=100))
    store.add(record(1, video="v3"))
    (batch,) = batches(store, np.arange(1), BatchShape(rows=2, steps=4, examples=4, history=2))
    places = tables.places(store.catalogue, batch, grow=True)
    before = {name: table.sorted()[1] for name, table in tables.named().items()}
    gradient = np.zeros((14, 3 * 2 + 4), np.float32)
    gradient[1, 2:4] = 1.0  # of the tags' mean
    tables.update(places, gradient, np.zeros((14, 3), np.float32), np.zeros((14, 0), np.float32), 1, 1.0)
    changed = {name: not np.array_equal(before[name], table.sorted()[1]) for name, table in tables.named().items()}
    assert changed == {"author": False, "tag": True, "music": False, "video": False}
