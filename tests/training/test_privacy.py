"""Training with noise: who is in a batch, what may tell of them, and what epsilon it comes to."""

import numpy as np
import pytest

from model.batches import BatchShape, drawn
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Examples, Limits
from model.privacy import Spent, chance, epsilon, reckoned, together
from model.train import Learner, RoundOptions
from model.weights import initial
from tests.training.world import World

pytestmark = pytest.mark.training
SHAPE = BatchShape(rows=16, steps=12, examples=64, history=8)


def store_of(records=1500, seed=3, viewers=80):
    world = World(seed=seed, viewers=viewers, videos=60, topics=10, authors=12)
    found = Examples(Catalogue(), Limits())
    found.catalogue.add(world.catalogue)
    for record in world.exposures(records):
        found.add(record)
    return found


def learner_of(store, **options):
    from model.net_options import NetOptions
    from model.nets import Net

    net = Net(ModelConfig(), SHAPE, NetOptions(**options))
    net.load(initial(net.config))
    return Learner(net, store, SHAPE, RoundOptions(margin=10.0, anchor_margin=10.0, user_share=1.0))


def test_each_user_comes_by_chance_with_one_window_and_few_examples():
    store = store_of()
    found = list(drawn(store, np.arange(store.kept), SHAPE, 0.1, 400, np.random.default_rng(1)))
    assert len(found) == 400
    times = np.zeros(80)
    for batch in found:
        rows = batch.row[: len(batch.slots)]
        assert (batch.owner == np.arange(SHAPE.rows)).all()  # no user twice
        if len(rows):
            assert np.bincount(rows).max() <= SHAPE.examples // SHAPE.rows
        times[np.unique(store.user[batch.slots])] += 1
    assert 400 * 0.1 - 20 < times.min() <= times.max() < 400 * 0.1 + 25  # four standard deviations: no user is favoured


def test_with_noise_no_row_of_a_table_tells_what_was_watched():
    one, other = store_of(400, seed=3, viewers=20), store_of(300, seed=3, viewers=10)
    learners = [learner_of(store, user_clip=1.0, noise=0.5) for store in (one, other)]
    done = [learner.round() for learner in learners]
    tables = [{name: value for name, value in found.weights.items() if name.startswith("table.")} for found in done]
    for name, value in tables[0].items():
        np.testing.assert_array_equal(value, tables[1][name], err_msg=name)
    assert len(tables[0]["table.author.keys"]) == 12
    assert not tables[0]["table.video.rows"].any()
    assert not np.array_equal(done[0].weights["user.kernel"], initial(ModelConfig())["user.kernel"])


def test_noise_has_the_size_that_is_asked_for():
    import tensorflow as tf

    net = learner_of(store_of(10), user_clip=3.0, noise=2.0).net
    nothing = [tf.zeros([200, 200]), tf.zeros([200, 200])]
    first, second = net._noised(nothing, tf.constant([1, 2]))
    for found in (first, second):
        assert abs(np.std(found) - 6.0) < 0.1
        assert abs(np.mean(found)) < 0.15
    assert abs(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]) < 0.03
    again, _ = net._noised(nothing, tf.constant([1, 3]))
    assert abs(np.corrcoef(np.ravel(first), np.ravel(again))[0, 1]) < 0.03


def test_what_is_spent_adds_up_over_rounds_and_is_lost_without_noise():
    store = store_of()
    learner = learner_of(store, user_clip=1.0, noise=2.0)
    first = learner.round()
    (spent,) = learner.spent
    assert (spent.noise, spent.steps) == (2.0, first.steps)
    assert spent.chance >= SHAPE.rows / 2 / store.users
    before = reckoned(learner.spent, 1e-6).epsilon
    for record in World(seed=4, viewers=80, videos=60, topics=10, authors=12).exposures(500):
        store.add(replace_ids(record))
    learner.round()
    assert sum(one.steps for one in learner.spent) > first.steps
    assert reckoned(learner.spent, 1e-6).epsilon > before
    plain = learner_of(store_of(300), user_clip=1.0)
    plain.round()
    assert plain.spent is None


def replace_ids(record):
    import msgspec

    return msgspec.structs.replace(record, impression_id=f"again-{record.impression_id}", offset=record.offset + 10_000)


def test_epsilon_is_that_of_the_gaussian_mechanism_where_everybody_is_drawn():
    steps, noise, delta = 3, 4.0, 1e-6
    rho = steps / (2 * noise**2)  # zero-concentrated; Bun and Steinke 2016 bound epsilon by this
    bound = rho + 2 * np.sqrt(rho * np.log(1 / delta))
    found = epsilon([Spent(noise=noise, chance=1.0, steps=steps)], delta)
    assert 0.7 * bound < found <= bound


def test_epsilon_grows_with_steps_and_chance_and_falls_with_noise():
    def of(noise=1.0, drawn=0.05, steps=100):
        return epsilon([Spent(noise=noise, chance=drawn, steps=steps)], 1e-6)

    assert of() < of(steps=200)
    assert of() < of(drawn=0.1)
    assert of(noise=2.0) < of()
    assert together([Spent(noise=1.0, chance=0.05, steps=60), Spent(noise=1.0, chance=0.05, steps=40)]) == (
        Spent(noise=1.0, chance=0.05, steps=100),
    )


@pytest.mark.parametrize("users", [1, 20, 1_000, 12_345, 20_000])
def test_chances_are_rounded_up_to_few(users):
    exact = min(1.0, 32 / users)
    assert exact <= chance(users, 32) <= min(1.0, exact * 2 ** (1 / 8) * 1.0001)
