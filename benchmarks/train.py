"""`freshloop bench train`: examples per second of a round's training, against the same model in a bare loop.

The bare loop is what one would write by hand in TensorFlow: tables are variables inside one compiled step, Adam moves
all of them, and the batches are ready-made tensors that are fed again and again. It has no input pipeline, no rows that
grow, no decay, no dropout and no bound on a user; ours has all of these, and makes every batch anew from its examples.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.job import SHAPE, make_events, make_pool, make_scorer, make_videos
from model.batches import Batch, BatchShape, batches
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Examples, Limits
from model.net_options import NetOptions
from model.nets import Net, _arrays
from model.tables import BETA1, BETA2, EPSILON
from model.trainer_cli import net_options
from model.weights import initial
from streams.config import load_settings
from streams.core.ranking import Policy
from streams.core.step import Partition, StepConfig

USERS, BATCH, LIMITS = 1_000, 2_000, Limits()
CONFIG = ModelConfig(head="interaction", hidden_size=64, embedding_size=32, seed=1)
Tensor = Any  # TensorFlow ships no types


def run(examples: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON."""
    shape = BatchShape.remembering(load_settings().recent_events)
    store = _store(examples, Limits.remembering(shape.steps))
    slots, rng = np.arange(store.kept), np.random.default_rng(1)
    ours, bare = _net(shape), Bare(_net(shape, Plain), store.catalogue)
    made = list(batches(store, slots, shape, rng))
    fed = [bare.tensors(batch) for batch in made]
    ours.train(store.catalogue, made[0])
    bare.train(fed[0])
    rates: dict[str, list[float]] = {"freshloop": [], "bare_loop": []}
    losses: dict[str, float] = {}
    for number in range(rounds):
        begun = perf_counter()
        losses["freshloop"] = fmean(ours.run(store.catalogue, batches(store, slots, shape, rng)))
        between = perf_counter()
        losses["bare_loop"] = fmean(bare.train(one) for one in fed)
        for name, seconds in (("freshloop", between - begun), ("bare_loop", perf_counter() - between)):
            rates[name].append(len(slots) / seconds)
        say(f"round {number + 1}: " + ", ".join(f"{name} {found[-1]:,.0f} examples/s" for name, found in rates.items()))
    ratios = [mine / other for mine, other in zip(rates["freshloop"], rates["bare_loop"], strict=True)]
    return {
        **{name: round(median(found)) for name, found in rates.items()},
        "ratio_to_bare_loop": round(median(ratios), 3),
        "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "loss": {name: round(loss, 4) for name, loss in losses.items()},
        "examples": len(slots), "steps": len(made), "window": shape.steps, "rounds": rounds,
    }  # fmt: skip


def _store(examples: int, limits: Limits = LIMITS) -> Examples:
    """Return examples as the stream's own feedback makes them."""
    scorer, videos = make_scorer(), make_videos()
    core = Partition(0, StepConfig(policy=Policy(), shape=SHAPE), make_pool(scorer, videos))
    store = Examples(Catalogue(), limits)
    store.catalogue.add(videos)
    arrivals = [(at, event.event_time_ms, event) for at, event in enumerate(make_events(examples, USERS))]
    for start in range(0, examples, BATCH):
        for record in core.apply(core.plan(arrivals[start : start + BATCH]), lambda arm: scorer).feedback:
            store.add(record)
    return store


class Plain(Net):
    """The same graph with its GRU as one writes it, and the gradient that TensorFlow finds for it."""

    def _hidden(self, projected: Tensor, tap: Tensor, start: Tensor) -> Tensor:
        steps = projected.shape[0]
        recurrent, bias = self._dense["gru.recurrent"], self._dense["gru.bias"][1]
        hidden = tf.tanh(start)
        states = tf.TensorArray(tf.float32, steps + 1, element_shape=hidden.shape).write(0, hidden)
        for t in tf.range(steps):
            update, reset, candidate = tf.split(projected[t], 3, axis=1)
            inner_update, inner_reset, inner = tf.split(hidden @ recurrent + bias, 3, axis=1)
            update = tf.sigmoid(update + inner_update)
            candidate = tf.tanh(candidate + tf.sigmoid(reset + inner_reset) * inner)
            hidden = update * hidden + (1.0 - update) * candidate
            states = states.write(t + 1, hidden)
        return states.stack()


def _net(shape: BatchShape, kind: type[Net] = Net) -> Net:
    net = kind(CONFIG, shape, net_options(load_settings()), seed=1)
    net.load(initial(CONFIG))
    return net


class Bare:
    """The bare loop over the graph of `net`: its weights, and four tables as variables with a row of zeros first."""

    def __init__(self, net: Net, catalogue: Catalogue) -> None:
        self._net, self._catalogue, self._steps = net, catalogue, 0
        found = catalogue.features[: len(catalogue)]
        self._rows = {
            "author": _numbers(found["author"]), "tag": _numbers(found["tags"]), "music": _numbers(found["music"]),
            "video": _numbers(found["key"]),
        }  # fmt: skip
        rng, widths = np.random.default_rng(1), {name: one.width for name, one in net.tables.named().items()}
        self._tables = {}
        for name, rows in self._rows.items():
            start = rng.normal(0, 0.1, (int(rows.max()) + 1, widths[name])).astype(np.float32)
            start[0] = 0.0
            self._tables[name] = tf.Variable(start)
        self._moments = {name: (tf.Variable(0 * one), tf.Variable(0 * one)) for name, one in self._all().items()}
        media = tf.zeros([net.shape.videos, net.config.media_size])
        self._nothing = media, tf.zeros([net.shape.rows, net.config.hidden_size])  # no clips, and nobody has a profile
        self._step = tf.function(self._train_step, jit_compile=True)

    def _all(self) -> dict[str, Any]:
        return {**self._net._dense, **{f"table.{name}": one for name, one in self._tables.items()}}

    def tensors(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return a batch as tensors, padded to fixed sizes."""
        size, used = self._net.shape.videos, len(batch.videos)
        found = self._catalogue.features[batch.videos]

        def pad(values: Any) -> Any:
            out = np.zeros((size, *values.shape[1:]), values.dtype)
            out[1 : used + 1] = values
            return out

        rows = [pad(self._rows[name][batch.videos]) for name in ("author", "tag", "music", "video")]
        total = pad(np.maximum(found["tag_total"], 1).astype(np.float32))
        arrays = (*rows, np.maximum(total, 1.0), pad(found["numbers"]), *_arrays(batch), batch.label, batch.weight)
        return tuple(map(tf.constant, arrays))

    def train(self, tensors: tuple[Tensor, ...]) -> float:
        """Take one step; return its loss."""
        self._steps += 1
        rate = NetOptions().rate / (1.0 - BETA1**self._steps)
        spread = (1.0 - BETA2**self._steps) ** -0.5
        return float(self._step(tf.constant(rate, tf.float32), tf.constant(spread, tf.float32), *tensors))

    def _train_step(self, rate: Tensor, spread: Tensor, *tensors: Tensor) -> Tensor:
        author, tag, music, video, total, numbers, *arrays, label, weight = tensors
        tables = self._tables
        with tf.GradientTape() as tape:
            tags = tf.reduce_sum(tf.gather(tables["tag"], tag), axis=1) / total[:, None]
            parts = [tf.gather(tables["author"], author), tags, tf.gather(tables["music"], music), numbers]
            learned = tf.gather(tables["video"], video)
            logits = self._net._logits(tf.concat(parts, axis=1), learned, *self._nothing, *arrays)
            each = tf.nn.sigmoid_cross_entropy_with_logits(label, logits)
            loss = tf.reduce_sum(each * weight) / tf.maximum(tf.reduce_sum(weight), 1.0)
        wanted = self._all()
        gradients = [tf.convert_to_tensor(one) for one in tape.gradient(loss, [*wanted.values()])]
        gradients, _ = tf.clip_by_global_norm(gradients, NetOptions().clip)
        for (name, variable), gradient in zip(wanted.items(), gradients, strict=True):
            first, second = self._moments[name]
            first.assign(BETA1 * first + (1 - BETA1) * gradient)
            second.assign(BETA2 * second + (1 - BETA2) * gradient * gradient)
            variable.assign_sub(rate * first / (tf.sqrt(second) * spread + EPSILON))
        return loss


def _numbers(keys: Any) -> Any:
    """Return keys as rows from 1 on, 0 for none."""
    return np.where(keys == 0, 0, 1 + np.unique(keys, return_inverse=True)[1].reshape(keys.shape)).astype(np.int32)
