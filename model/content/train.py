"""Training of the towers from nothing: two stretches of the same clip must find each other among those of other clips.

InfoNCE (van den Oord et al. 2018) over unit vectors, with clips of the same scene among the negatives, on clips that
the project renders itself. One thread, low priority, seeded.
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

from model.content.examples import Renderer, Say, render_pairs
from model.content.nets import TowerNet
from model.content.retrieval import match_halves
from model.content.serving import TowerForward, Weights, pictures_of
from model.content.towers import CENTRE, FRAMES, SOUND, Tower, initial_weights
from model.content.weights import Manifest, write_weights
from streams.core.ports import Floats

HELD_OUT = 32  # scenes that only measure

Views = Callable[[Any], Any]  # examples [N, T, ...] to the tower's input, augmented


@dataclass(frozen=True)
class Recipe:
    """How a tower is trained; chosen on held-out rendered scenes.

    Attributes:
      scenes, clips: in a batch, and of each scene.
      temperature: of the InfoNCE loss.
      rate: of Adam, falling to 0 along a cosine.
      decay: of the weights, apart from the gradient.
    """

    scenes: int = 24
    clips: int = 2
    temperature: float = 0.1
    rate: float = 1e-3
    decay: float = 0.01


def train_towers(render: Renderer, scenes: int, steps: int, seed: int, out: Path, say: Say) -> Manifest:
    """Render, train both towers, measure them on held-out scenes and write weights and manifest; returns the latter."""
    os.nice(10)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(seed)
    pairs = render_pairs(render, scenes + HELD_OUT, seed, say)
    weights: Weights = {}
    figures: dict[str, float] = {}
    for tower, examples, views in (
        (FRAMES, pairs.frames, augmented_frames),
        (SOUND, pairs.sound, augmented_sound),
    ):
        start = standardised(tower, initial_weights(tower, seed), _plain(tower, examples[:64, 0, 0]))
        trained = fit(tower, start, examples[:-HELD_OUT], steps, views, seed, say)
        weights |= trained
        for name, one in (("untrained", start), ("trained", trained)):
            figures[f"{tower.name}_held_out_{name}"] = held_out(tower, one, examples[-HELD_OUT:])
    command = f"freshloop content train --scenes {scenes} --steps {steps} --seed {seed}"
    return write_weights(out, weights, Manifest("", command, seed, scenes, steps, figures))


def fit(
    tower: Tower, start: Weights, examples: NDArray[Any], steps: int, views: Views, seed: int, say: Say,
    recipe: Recipe | None = None,
) -> Weights:  # fmt: skip
    """Return the weights after `steps` steps on examples [S, I, 2, T, ...]."""
    recipe = recipe or Recipe()
    net = TowerNet(tower, start)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.rate, steps)
    step = _step(net, keras.optimizers.AdamW(schedule, weight_decay=recipe.decay), views, recipe.temperature)
    rng = np.random.default_rng([seed, steps])
    losses: list[float] = []
    for number in range(1, steps + 1):
        losses.append(float(step(tf.constant(batch(examples, recipe, rng)))))
        if number % 50 == 0:
            say(f"{tower.name}: step {number} of {steps}, loss {np.mean(losses[-50:]):.3f}")
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the training of {tower.name} diverged")
    return net.export()


def batch(examples: NDArray[Any], recipe: Recipe, rng: np.random.Generator) -> NDArray[Any]:
    """Return halves [scenes * clips * 2, T, ...], the two of a clip beside each other."""
    some = rng.choice(len(examples), min(recipe.scenes, len(examples)), replace=False)
    clips = [rng.permutation(examples.shape[1])[: recipe.clips] for _ in some]
    shape = (-1, *examples.shape[3:])
    return np.concatenate([examples[scene, own].reshape(shape) for scene, own in zip(some, clips, strict=True)])


def info_nce(vectors: Any, temperature: float) -> Any:
    """Return the loss of unit vectors [N, D] whose partner is their neighbour: 0 with 1, 2 with 3, ..."""
    count = tf.shape(vectors)[0]
    logits = tf.matmul(vectors, vectors, transpose_b=True) / temperature - 1e9 * tf.eye(count)
    partner = tf.bitwise.bitwise_xor(tf.range(count), 1)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits))


def _step(net: TowerNet, optimizer: Any, views: Views, temperature: float) -> Callable[[Any], Any]:
    @tf.function  # type: ignore[untyped-decorator]
    def step(examples: Any) -> Any:
        pictures = views(examples)
        mask = tf.ones(tf.shape(pictures)[:2], tf.bool)
        with tf.GradientTape() as tape:
            loss = info_nce(net((pictures, mask)), temperature)
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return loss

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
    x = tf.clip_by_value(x + tf.random.normal(tf.shape(x), stddev=0.01), 0.0, 1.0)
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


def held_out(tower: Tower, weights: Weights, examples: NDArray[Any]) -> float:
    """Return the share of halves of [S, I, 2, T, ...] whose nearest among all is their other half."""
    forward = TowerForward(tower, weights)
    halves = examples.reshape(-1, *examples.shape[3:])
    found = match_halves(np.stack([forward(_plain(tower, half)) for half in halves]))
    return round((found.first + found.second) / (2 * found.total), 4)


def _plain(tower: Tower, examples: NDArray[Any]) -> Floats:
    """Return the tower's input, without augmentation, of one half [T, ...] or of several [N, T, ...] in a row."""
    if tower is SOUND:
        return examples.reshape(-1, *examples.shape[-3:]).astype(np.float32)
    halves = examples.reshape(-1, *examples.shape[-4:])
    return np.concatenate([pictures_of(half) for half in halves])
