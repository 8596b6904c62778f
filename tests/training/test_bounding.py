"""Gradients by hand and by TensorFlow, and what one user can do to a step."""

import numpy as np
import pytest

from model.batches import BatchShape, batches
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Examples, Limits
from model.memory import DECAY, FEEDBACK, GAIN, NORM, outcomes
from model.weights import initial
from tests.training.world import World

pytestmark = pytest.mark.training
SHAPE = BatchShape(rows=16, steps=12, examples=48, history=9)


@pytest.fixture(scope="module")
def store():
    world = World(seed=3, viewers=5, videos=60, topics=10, authors=12)
    found = Examples(Catalogue(), Limits())
    found.catalogue.add(world.catalogue)
    for record in world.exposures(200):
        found.add(record)
    return found


def net_of(head="interaction", clip=0.0, noise=0.0, memory=True):
    from model.net_options import NetOptions
    from model.nets import Net

    config = ModelConfig(head=head, media=("sound",), memory=memory)
    net = Net(config, SHAPE, NetOptions(user_clip=clip, noise=noise), seed=1)
    rng = np.random.default_rng(5)
    net.load(
        {name: value + rng.normal(0, 0.2, value.shape).astype(value.dtype) for name, value in initial(config).items()}
    )
    return net


def inputs_of(net, store, batch):
    """What the step takes, with rows that were learned already."""
    rng = np.random.default_rng(2)
    places = net.tables.places(store.catalogue, batch, grow=True)
    content = net.tables.content(store.catalogue, batch, places, SHAPE.videos)
    residuals = rng.normal(0, 0.3, (SHAPE.videos, net.tables.video.width)).astype(np.float32)
    arrays = (batch.step_video, batch.behaviour, batch.row, batch.time, batch.video, batch.label, batch.weight)
    media = rng.normal(0, 1, (SHAPE.videos, net.config.media_size)).astype(np.float32)
    start = rng.normal(0, 1, (SHAPE.rows, net.config.hidden_size)).astype(np.float32)
    return [content, residuals, media, start, *arrays, batch.owner]


def plainly(net, inputs):
    """The gradients of the summed loss by TensorFlow, through a GRU and a memory that are written out without ours."""
    import tensorflow as tf

    content, residuals, media, start, step_video, behaviour, row, time, video, label, weight, _ = map(
        tf.constant, inputs
    )
    with tf.GradientTape() as tape:
        tape.watch([content, residuals, start])
        vectors = net._vectors(content, residuals, media)
        stepped, units = tf.gather(vectors, step_video), net.config.recurrent_size
        projected = net._projected(stepped, behaviour)
        states, memory = [tf.tanh(start[:, :units])], [tf.tanh(start[:, units:])]
        for step in range(SHAPE.steps):
            outer = tf.split(projected[step], 3, axis=1)
            inner = tf.split(states[-1] @ net._dense["gru.recurrent"] + net._dense["gru.bias"][1], 3, axis=1)
            update, reset = tf.sigmoid(outer[0] + inner[0]), tf.sigmoid(outer[1] + inner[1])
            states.append(update * states[-1] + (1 - update) * tf.tanh(outer[2] + reset * inner[2]))
            memory.append(
                remembered(net, memory[-1], stepped[step], inputs[5][step]) if net.config.memory else memory[0]
            )
        whole = tf.concat([tf.stack(states), tf.stack(memory)], axis=2)
        read = tf.gather_nd(whole, tf.stack([time, row], axis=1))
        users, shown = tf.tanh(net._user(read)), tf.gather(vectors, video)
        logits = net._judged(users, shown, net._biases(residuals, video))
        loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(label, logits) * weight)
    return tape.gradient(loss, [*net._dense.values(), content, residuals, start], unconnected_gradients="zero")


def remembered(net, memory, vectors, behaviour):
    """One step of the memories [B, E]; what a step surprises by is taken as given, as the trainer takes it."""
    import tensorflow as tf

    nobody = tf.tile(tf.tanh(net._dense["user.bias"])[None], [len(behaviour), 1])
    logit = net._judged(nobody, vectors, tf.zeros(len(behaviour))) + FEEDBACK * tf.reduce_sum(memory * vectors, axis=1)
    surprise = (outcomes(behaviour) - tf.sigmoid(logit)) * GAIN / (NORM + tf.reduce_sum(vectors**2, axis=1))
    return DECAY * memory + tf.stop_gradient(surprise)[:, None] * vectors


@pytest.mark.parametrize(("head", "memory"), [("interaction", True), ("interaction", False), ("concat", True)])
def test_gradients_are_those_of_tensorflow(store, head, memory):
    import tensorflow as tf

    net = net_of(head, memory=memory)
    batch = next(batches(store, np.arange(store.kept), SHAPE, np.random.default_rng(0)))
    inputs = inputs_of(net, store, batch)
    _, ours = tf.function(net._gradients, jit_compile=True)(*map(tf.constant, inputs))
    for name, mine, theirs in zip(
        [*net._dense, "content", "residuals", "start"], ours, plainly(net, inputs), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max(), err_msg=name)


def norm_by_user(net, store, batch, inputs, gradients_of):
    """The norm over dense weights and table rows of each user's own gradient, by owner."""
    weight, owner, row = inputs[10], batch.owner, batch.row
    found = {}
    for one in np.unique(owner[row[weight > 0]]).tolist():
        alone = np.where(owner[row] == one, weight, 0).astype(np.float32)
        *dense, content, residuals, start = gradients_of([*inputs[:10], alone, batch.owner])
        total = sum(float((np.asarray(gradient) ** 2).sum()) for gradient in [*dense, start])
        found[one] = np.sqrt(total + rows_squared(net, store, batch, np.asarray(content), np.asarray(residuals)))
    return found


def rows_squared(net, store, batch, content, residuals):
    """The squared norm of the gradient by table rows, several places of a row added up."""
    facts, width, used = store.catalogue.features[batch.videos], net.config.category_size, len(batch.videos)
    content, total = content[1 : used + 1], float((residuals[1 : used + 1] ** 2).sum())
    columns = [
        (facts["author"][:, None], 0, 1),
        (facts["tags"], 1, facts["tag_total"]),
        (facts["music"][:, None], 2, 1),
    ]
    for keys, at, divisor in columns:
        rows = {}
        parts = content[:, at * width : (at + 1) * width] / np.maximum(divisor, 1).reshape(-1, 1)
        for mine, part in zip(keys, parts, strict=True):
            for key in mine[mine != 0].tolist():
                rows[key] = rows.get(key, 0) + part
        total += sum(float((row**2).sum()) for row in rows.values())
    return total


@pytest.mark.parametrize(("head", "noise"), [("interaction", 0.0), ("interaction", 1.0), ("concat", 0.0)])
def test_no_user_brings_more_than_the_bound_to_a_step(store, head, noise):
    import tensorflow as tf

    bounded, free = net_of(head, clip=0.5, noise=noise), net_of(head)
    batch = next(batches(store, np.arange(store.kept), SHAPE, np.random.default_rng(0)))
    assert len(np.unique(batch.owner[: len(np.unique(batch.row))])) < len(np.unique(batch.row))  # several of one user
    inputs = inputs_of(free, store, batch)
    step = tf.function(bounded._gradients, jit_compile=True)
    before = norm_by_user(free, store, batch, inputs, lambda some: plainly(free, some))
    after = norm_by_user(bounded, store, batch, inputs, lambda some: step(*map(tf.constant, some))[1])
    print({one: (round(before[one], 3), round(after[one], 3)) for one in before})
    assert max(before.values()) > 1.0  # so that there is something to cut
    assert max(after.values()) <= 0.5 * (1 + 1e-4)
    assert max(after.values()) >= (0.15 if noise else 0.05)  # the bound is not far above what it bounds
    together = step(*map(tf.constant, inputs))[1]
    alone = [
        step(
            *map(
                tf.constant,
                [*inputs[:10], np.where(batch.owner[batch.row] == one, inputs[10], 0).astype(np.float32), batch.owner],
            )
        )[1]
        for one in before
    ]
    for at, whole in enumerate(together):  # nobody's part depends on who else is in the batch
        np.testing.assert_allclose(whole, sum(np.asarray(one[at]) for one in alone), rtol=1e-3, atol=1e-4)
