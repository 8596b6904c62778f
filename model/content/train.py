"""Training of the towers from nothing, by contrast, on clips that the project renders itself.

The halves of a clip must find each other among all others of the batch (InfoNCE, van den Oord et al. 2018), clips of
the same scene included; and among the clips of other scenes, those of the same creator come first (supervised contrast,
Khosla et al. 2020, with the creator as the label). One thread, low priority, seeded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.content.examples import Renderer, Say, render_examples
from model.content.nets import TowerNet
from model.content.retrieval import match_halves, precision_at
from model.content.serving import TowerForward, Weights, pictures_of
from model.content.towers import CENTRE, FRAMES, SOUND, Tower, initial_weights
from model.content.weights import Manifest, write_weights
from streams.core.ports import Floats

HELD_OUT = 16  # creators that only measure
NEAREST = 3  # looked at when creators are measured

Views = Callable[[Any], Any]  # examples [N, T, ...] to the tower's input, augmented


@dataclass(frozen=True)
class Recipe:
    """How a tower is trained.

    Attributes:
      creators, scenes: in a batch, and of each creator.
      temperature: of both losses.
      rate: of Adam, falling to 0 along a cosine.
      decay: of the weights, apart from the gradient.
    """

    creators: int = 12
    scenes: int = 2
    temperature: float = 0.1
    rate: float = 2e-3
    decay: float = 0.01


def train_towers(render: Renderer, creators: int, steps: int, seed: int, out: Path, say: Say) -> Manifest:
    """Render, train both towers, measure them on held-out creators, write weights and manifest; returns the latter."""
    os.nice(10)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    examples = render_examples(render, creators + HELD_OUT, seed, say)
    weights: Weights = {}
    figures: dict[str, float] = {}
    for tower, some, views in (
        (FRAMES, examples.frames, augmented_frames),
        (SOUND, examples.sound, augmented_sound),
    ):
        keras.utils.set_random_seed(seed)
        start = standardised(tower, initial_weights(tower, seed), _plain(tower, some[:64, 0, 0, 0]))
        trained = fit(tower, start, some[:-HELD_OUT], steps, views, seed, say)
        weights |= trained
        for name, one in (("untrained", start), ("trained", trained)):
            for what, value in held_out(tower, one, some[-HELD_OUT:]).items():
                figures[f"{tower.name}_{what}_{name}"] = value
    command = f"freshloop content train --creators {creators} --steps {steps} --seed {seed}"
    return write_weights(out, weights, Manifest("", command, seed, creators, steps, figures))


def fit(
    tower: Tower, start: Weights, examples: NDArray[Any], steps: int, views: Views, seed: int, say: Say,
    recipe: Recipe | None = None,
) -> Weights:  # fmt: skip
    """Return the weights after `steps` steps on examples [R, S, I, 2, T, ...]."""
    recipe = recipe or Recipe()
    net = TowerNet(tower, start)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.rate, steps)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.decay)
    step = _step(net, optimizer, views, recipe, 2 * examples.shape[2])
    rng = np.random.default_rng([seed, steps])
    losses: list[list[float]] = []
    for number in range(1, steps + 1):
        losses.append([float(one) for one in step(tf.constant(batch(examples, recipe, rng)))])
        if number % 50 == 0:
            halves, creators = np.mean(losses[-50:], axis=0)
            say(f"{tower.name}: step {number} of {steps}, loss of halves {halves:.3f}, of creators {creators:.3f}")
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the training of {tower.name} diverged")
    return net.export()


def batch(examples: NDArray[Any], recipe: Recipe, rng: np.random.Generator) -> NDArray[Any]:
    """Return halves [creators * scenes * I * 2, T, ...], in order of creator, scene, clip and half."""
    some = rng.choice(len(examples), recipe.creators, replace=False)
    scenes = [rng.permutation(examples.shape[1])[: recipe.scenes] for _ in some]
    shape = (-1, *examples.shape[4:])
    return np.concatenate([examples[creator, own].reshape(shape) for creator, own in zip(some, scenes, strict=True)])


def halves_loss(cosines: Any, temperature: float) -> Any:
    """Return InfoNCE of cosines [N, N], where the partner of a half is beside it: 0 with 1, 2 with 3, ..."""
    count = tf.shape(cosines)[0]
    logits = cosines / temperature - 1e9 * tf.eye(count)
    partner = tf.bitwise.bitwise_xor(tf.range(count), 1)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits))


def creators_loss(cosines: Any, temperature: float, per_scene: int, scenes: int) -> Any:
    """Return the mean surprise, among the halves of other scenes, at those of the same creator.

    Args:
      cosines: [N, N], halves in order of creator and scene.
      per_scene, scenes: halves of a scene, scenes of a creator.
    """
    scene = tf.range(tf.shape(cosines)[0]) // per_scene
    creator = scene // scenes
    same_scene = scene[:, None] == scene[None, :]
    wanted = (creator[:, None] == creator[None, :]) & ~same_scene
    surprise = -tf.nn.log_softmax(tf.where(same_scene, -1e9, cosines / temperature), axis=1)
    return tf.reduce_mean(tf.boolean_mask(surprise, wanted))


def _step(net: TowerNet, optimizer: Any, views: Views, recipe: Recipe, per_scene: int) -> Callable[[Any], Any]:
    @tf.function  # type: ignore[untyped-decorator]
    def step(examples: Any) -> Any:
        pictures = views(examples)
        mask = tf.ones(tf.shape(pictures)[:2], tf.bool)
        with tf.GradientTape() as tape:
            vectors = net((pictures, mask))
            cosines = tf.matmul(vectors, vectors, transpose_b=True)
            halves = halves_loss(cosines, recipe.temperature)
            creators = creators_loss(cosines, recipe.temperature, per_scene, recipe.scenes)
            loss = halves + creators
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return halves, creators

    return step  # type: ignore[no-any-return]


def augmented_frames(frames: Any) -> Any:
    """Return the tower's input [N, T, S, S, 4] of frames uint8 [N, T, S, S, 3], each half seen a little differently.

    A small crop and shift, blur, light and noise of each half's own; a mirror for both halves of a clip or for none.
    """
    count, time, size = tf.shape(frames)[0], frames.shape[1], frames.shape[2]
    x = tf.cast(frames, tf.float32) / 255.0
    zoom = tf.where(tf.random.uniform((count, 1)) < 0.5, 1.0, tf.random.uniform((count, 1), 0.9, 1.0))
    corner = tf.random.uniform((count, 2)) * (1 - zoom)
    box = tf.concat([corner, corner + zoom], axis=1)
    mirrored = tf.repeat(tf.random.uniform((count // 2,)) < 0.5, 2)[:, None]
    box = tf.where(mirrored, tf.gather(box, [0, 3, 2, 1], axis=1), box)
    flat = tf.reshape(x, (-1, size, size, 3))
    flat = tf.image.crop_and_resize(flat, tf.repeat(box, time, axis=0), tf.range(count * time), (size, size))
    blur = tf.repeat(tf.maximum(tf.random.uniform((count,), -1, 1), 0.0), time)[:, None, None, None]
    flat += blur * (tf.nn.avg_pool2d(flat, 3, 1, "SAME") - flat)
    x = tf.reshape(flat, (count, time, size, size, 3)) * tf.random.uniform((count, 1, 1, 1, 3), 0.98, 1.02)
    noise = tf.random.normal((1, time, size, size, 3), stddev=0.01)  # one for all: normal numbers are slow to draw
    x = tf.clip_by_value(x + noise, 0.0, 1.0)
    change = tf.reduce_mean(tf.abs(x[:, 1:] - x[:, :-1]), axis=-1, keepdims=True)
    return tf.concat([x - CENTRE, 2 * tf.concat([change[:, :1], change], axis=1)], axis=-1)


def augmented_sound(patches: Any) -> Any:
    """Return patches [N, P, R, M, 1] as float32, each half a little louder or softer, with noise of its own."""
    x = tf.cast(patches, tf.float32)
    return x + tf.random.normal((tf.shape(x)[0], 1, 1, 1, 1), stddev=0.1) + tf.random.normal(tf.shape(x), stddev=0.05)


def standardised(tower: Tower, weights: Weights, pictures: Floats) -> Weights:
    """Return weights whose features start with mean 0 on pictures [N, H, W, C], and equal shares of both inputs."""
    forward = TowerForward(tower, weights)
    seen = np.concatenate([forward.seen(pictures[at : at + 1])[:1] for at in range(len(pictures))])
    kernel = weights[f"{tower.name}.picture.kernel"].copy()
    flat = len(kernel) - tower.colour_features()
    for block in (slice(0, flat), slice(flat, None)):
        spread = float(np.sqrt(((seen[:, block] - seen[:, block].mean(axis=0)) ** 2).sum(axis=1).mean())) or 1.0
        rows = kernel[block]
        kernel[block] = rows / max(float(rows.std()), 1e-9) / spread if len(rows) else rows
    bias = -(seen.mean(axis=0) @ kernel)
    return weights | {f"{tower.name}.picture.kernel": kernel, f"{tower.name}.picture.bias": bias.astype(np.float32)}


def held_out(tower: Tower, weights: Weights, examples: NDArray[Any]) -> dict[str, float]:
    """Measure weights on examples [R, S, I, 2, T, ...] that were not trained on.

    Returns: `halves`, the share of halves whose nearest among all is their other half; `creators`, the share of the
      NEAREST clips of other scenes that are of the same creator.
    """
    forward = TowerForward(tower, weights)
    shape = examples.shape[:4]
    vectors = np.stack([forward(_plain(tower, half)) for half in examples.reshape(-1, *examples.shape[4:])])
    found = match_halves(vectors)
    first = vectors.reshape(*shape, -1)[:, :, 0].mean(axis=2).reshape(shape[0] * shape[1], -1)  # one clip of each scene
    creators = np.repeat(np.arange(shape[0]), shape[1])
    return {
        "halves": round((found.first + found.second) / (2 * found.total), 4),
        "creators": round(precision_at(first, creators, min(NEAREST, shape[1] - 1)), 4),
    }


def _plain(tower: Tower, examples: NDArray[Any]) -> Floats:
    """Return the tower's input, without augmentation, of one half [T, ...] or of several [N, T, ...] in a row."""
    if tower is SOUND:
        return examples.reshape(-1, *examples.shape[-3:]).astype(np.float32)
    halves = examples.reshape(-1, *examples.shape[-4:])
    return np.concatenate([pictures_of(half) for half in halves])
