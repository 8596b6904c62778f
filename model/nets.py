"""The model in TensorFlow: one compiled training step, one compiled score, and weights in and out by name.

Dense weights and their Adam moments are `tf.Variable`s inside the step; table rows come in with each batch (see
`model.tables`). All shapes are fixed, so XLA compiles each function once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.batches import Batch, BatchShape, empty
from model.bounding import Inputs, Passed, quick_norms, shares, window_norms
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.memories import memories
from model.modalities import inputs
from model.net_options import NetOptions
from model.placed import Placed
from model.recurrence import unroll
from model.standard import MEASURED, STANDARD, moved, standard_of
from model.tables import BETA1, BETA2, EPSILON, Table
from model.title import TEXT
from model.weights import OPTIONAL, Weights, optional_table
from streams.core.ports import Floats

Tensor = Any  # TensorFlow ships no types


class Net:
    """Weights with their optimiser state, as one thing that learns.

    Attributes:
      steps: of training, so far.
      stopping: asked at every step by a net in several processes.
    """

    def __init__(self, config: ModelConfig, shape: BatchShape, options: NetOptions, seed: int = 0) -> None:
        self.config, self.shape, self.options = config, shape, options
        self.steps = 0
        self.stopping: Callable[[], bool] = lambda: False
        self._grown = 0  # videos of the catalogue that were given rows, with noise
        self.tables = options.tables(config.category_size, config.embedding_size)
        self.profiles = options.profiles(config.hidden_size)
        self._rng = np.random.default_rng(None if options.noise else seed)  # of dropout, and of noise nobody can repeat
        self._dense: dict[str, tf.Variable] = {}
        self._moments: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        self._train = tf.function(self._train_step, jit_compile=True)
        self._score = tf.function(self._logits, jit_compile=True)

    def load(self, weights: Weights) -> None:
        """Take over weights; the optimiser starts anew."""
        self._grown = 0
        self.steps = 0
        for name, table in self.tables.named().items():
            table.load(weights[f"table.{name}.keys"], weights[f"table.{name}.rows"])
        for name, table in self._optional_tables().items():
            table.load(*optional_table(weights, name, table.width))
        self.tables.standard = standard_of(weights)
        for name, value in weights.items():
            if name.startswith("table.") or name == STANDARD:
                continue
            if name not in self._dense:
                self._dense[name] = tf.Variable(value, dtype=tf.float32)
                self._moments[name] = tf.Variable(0 * value), tf.Variable(0 * value)
            self._dense[name].assign(value)
            for moment in self._moments[name]:
                moment.assign(0 * value)

    def put(self, weights: Weights) -> None:
        """Set weights of the names and rows that are there already; the optimiser stays as it is."""
        for name, variable in self._dense.items():
            variable.assign(weights[name])
        for name, table in self._all_tables().items():
            if len(table):
                table.put(weights[f"table.{name}.keys"], weights[f"table.{name}.rows"])

    def compile(self) -> None:
        """Compile both functions now rather than in the first round. Weights must be loaded, and again afterwards."""
        nothing = Catalogue()
        nothing.index("-")
        for videos in (self.shape.few, self.shape.videos):
            self.train(nothing, replace(empty(self.shape), videos=np.zeros(videos - 1, np.int64)))
        self.logits(nothing, empty(self.shape))

    def export(self) -> Weights:
        """Return the weights as copies, by name."""
        weights: Weights = {name: variable.numpy() for name, variable in self._dense.items()}
        for name, table in self.tables.named().items():
            weights[f"table.{name}.keys"], weights[f"table.{name}.rows"] = table.sorted()
        for name, table in self._optional_tables().items():
            if len(table):
                weights[f"table.{name}.keys"], weights[f"table.{name}.rows"] = table.sorted()
        return weights if self.tables.standard is None else weights | {STANDARD: self.tables.standard}

    def standardise(self, new: Floats | None) -> None:
        """Go by other statistics from now on; what the net says stays, up to rounding.

        Args:
          new: None for none as yet, which changes nothing. Where they are not wanted, those of earlier versions go.
        """
        wanted, old = self.options.standardise, self.tables.standard
        if (new if wanted else old) is None:
            return
        new = new if wanted else None
        kernel, bias, start = self._dense["video.kernel"], self._dense["video.bias"], 3 * self.config.category_size
        where = slice(start, start + len(MEASURED))
        rows, shifted = moved(kernel[where].numpy(), bias.numpy(), old, new)
        kernel[where].assign(rows)
        bias.assign(shifted)
        self.tables.standard = new

    def trim(self) -> None:
        """Drop rows beyond each table's bound, those untouched for longest first."""
        self.tables.trim()
        self.profiles.table.trim()

    def _all_tables(self) -> dict[str, Table]:
        return self.tables.named() | self._optional_tables()

    def _optional_tables(self) -> dict[str, Table]:
        text = self.tables.text
        return {"profile": self.profiles.table} | ({} if text is None else {TEXT: text})

    def optimiser(self) -> Weights:
        """Return the optimiser's state, by name, as copies."""
        state: Weights = {"steps": np.array([self.steps], np.int64)}
        for name, (first, second) in self._moments.items():
            state |= {f"first.{name}": first.numpy(), f"second.{name}": second.numpy()}
        for name, table in self._all_tables().items():
            keys, rows_first, rows_second = table.moments()
            state |= {f"rows.{name}.keys": keys, f"rows.{name}.first": rows_first, f"rows.{name}.second": rows_second}
        return state

    def set_optimiser(self, state: Weights) -> None:
        """Go on from a state that `optimiser` returned; the weights must be loaded already.

        Raises:
          KeyError, ValueError: the state is of another model.
        """
        for name, (first, second) in self._moments.items():
            first.assign(state[f"first.{name}"])
            second.assign(state[f"second.{name}"])
        for name, table in self._all_tables().items():
            if name not in OPTIONAL or f"rows.{name}.keys" in state:  # kept before there were any
                table.set_moments(*(state[f"rows.{name}.{part}"] for part in ("keys", "first", "second")))
        self.steps = int(state["steps"][0])

    def train(self, catalogue: Catalogue, batch: Batch, warmth: float = 1.0) -> float:
        """Take one step on a batch; return its weighted mean loss before the step, in nats.

        Args:
          warmth: multiplies every step size.
        """
        (loss,) = self.run(catalogue, [batch], lambda at: warmth)
        return loss

    def run(
        self, catalogue: Catalogue, batches: Iterable[Batch], warmth: Callable[[int], float] = lambda at: 1.0
    ) -> Iterator[float]:
        """Take a step on each batch; yield what `train` returns. The next batch is made while TensorFlow computes.

        Args:
          warmth: of the step on batch number `at`.
        """
        with ThreadPoolExecutor(1) as beside:
            coming = (self._placed(catalogue, batch) for batch in batches)
            placed, at = next(coming, None), 0
            while placed is not None:
                begun = beside.submit(self._train, *self._given(catalogue, placed, warmth(at)))
                following = next(coming, None)
                loss, *gradients = begun.result()
                self._learn(placed, [one.numpy() for one in gradients], warmth(at))
                yield float(loss)
                placed, at = following, at + 1

    def _placed(self, catalogue: Catalogue, batch: Batch) -> Placed:
        private = self.options.noise > 0
        if private:
            self._grow(catalogue)
        kept = (self._rng.random((self.shape.places(batch), 1)) >= self.options.dropout).astype(np.float32)
        media = self._media(catalogue, batch, len(kept), self.options.media_dropout)
        videos = self.tables.places(catalogue, batch, grow=not private)
        return Placed(batch, videos, self.profiles.places(batch, grow=not private), kept, media)

    def _given(self, catalogue: Catalogue, placed: Placed, warmth: float) -> list[Tensor]:
        """Return what the compiled step takes; rows are read now, with all that was learned before."""
        batch, size = placed.batch, len(placed.kept)
        self.steps += 1
        content = self.tables.content(catalogue, batch, placed.videos, size)
        residuals = self.tables.residuals(placed.videos, size, placed.kept)
        seed = self._rng.integers(0, 2**31, 2, np.int32)
        pace = self.options.rate * warmth / (1.0 - BETA1**self.steps), (1.0 - BETA2**self.steps) ** -0.5
        whole = (batch.step_video, batch.row, batch.time, batch.video, batch.owner, seed)
        parts = (batch.label, batch.weight, np.array(pace, np.float32))
        packed = (np.concatenate([one.ravel() for one in some]) for some in (whole, parts))  # each costs its passing on
        start = self.profiles.start(placed.profiles)
        return [tf.constant(one) for one in (content, residuals, placed.media, start, batch.behaviour, *packed)]

    def _learn(self, placed: Placed, gradients: list[Floats], warmth: float) -> None:
        """Move the rows that a batch came from."""
        if not self.options.noise:
            for_content, for_residuals, for_start = gradients
            by_id, read = for_residuals * placed.kept, self.tables.reading(for_residuals)
            self.tables.update(placed.videos, for_content, by_id, read, self.steps, warmth)
            self.profiles.update(placed.profiles, for_start, self.steps, warmth)

    def _grow(self, catalogue: Catalogue) -> None:
        """Give rows to what every known video has, so that none tells by being there what was watched."""
        if len(catalogue) > self._grown:
            new = np.arange(self._grown, len(catalogue))
            videos = new[catalogue.known[new]]
            self.tables.places(catalogue, replace(empty(self.shape), videos=videos), grow=True)
            self._grown = len(catalogue)

    def logits(self, catalogue: Catalogue, batch: Batch) -> Floats:
        """Return the logits [n] of a batch's examples."""
        places = self.tables.places(catalogue, batch, grow=False)
        content = self.tables.content(catalogue, batch, places, self.shape.videos)
        residuals = self.tables.residuals(places, self.shape.videos)
        media, start = (
            self._media(catalogue, batch, self.shape.videos),
            self.profiles.start(self.profiles.places(batch, grow=False)),
        )
        found: Floats = self._score(*map(tf.constant, (content, residuals, media, start, *_arrays(batch)))).numpy()
        return found[: len(batch.slots)]

    def _media(self, catalogue: Catalogue, batch: Batch, size: int, dropout: float = 0.0) -> Floats:
        """Return media inputs [U, M], laid out as content; zeros where no video is."""
        out = np.zeros((size, self.config.media_size), np.float32)
        if self.config.media:
            present = catalogue.present[batch.videos]
            if dropout:
                present = present & (self._rng.random(present.shape) >= dropout)
            out[1 : len(batch.videos) + 1] = inputs(catalogue.halves[batch.videos], present, self.config.media)
        return out

    def _logits(
        self, content: Tensor, residuals: Tensor, media: Tensor, start: Tensor, step_video: Tensor, behaviour: Tensor,
        row: Tensor, time: Tensor, video: Tensor,
    ) -> Tensor:  # fmt: skip
        """Return logits [N] of `content`, `residuals`, `media` [U, ...], `start` [B, H], and the arrays of a batch."""
        vectors = self._vectors(content, residuals, media)
        stepped = tf.gather(vectors, step_video)
        projected = self._projected(stepped, behaviour)
        hidden = self._hidden(projected, tf.zeros_like(projected), start[:, : self.config.recurrent_size])
        read = self._read(hidden, stepped, behaviour, start, tf.stack([time, row], axis=1))
        return self._judged(tf.tanh(self._user(read)), tf.gather(vectors, video), self._biases(residuals, video))

    def _vectors(self, content: Tensor, residuals: Tensor, media: Tensor) -> Tensor:
        """Return video vectors [U, E]; the first, which stands for "not known", is zeros."""
        dense = self._dense
        raw = content @ dense["video.kernel"] + dense["video.bias"] + residuals[:, : self.config.embedding_size]
        if self.config.media:
            raw += media @ dense["media.kernel"]
        return tf.tanh(raw) * tf.constant([[0.0]] + [[1.0]] * (content.shape[0] - 1))

    def _biases(self, residuals: Tensor, video: Tensor) -> Tensor:
        """Return the own biases [N] of shown videos."""
        found = tf.gather(residuals[:, self.config.embedding_size], video)
        return found if self.config.head == "interaction" else tf.zeros_like(found)

    def _projected(self, vectors: Tensor, behaviour: Tensor) -> Tensor:
        """Return inputs [T, B, E] and [T, B, F] times the GRU's kernel, with its bias: [T, B, 3H]."""
        inputs = tf.concat([vectors, behaviour], axis=2)
        return tf.tensordot(inputs, self._dense["gru.kernel"], axes=1) + self._dense["gru.bias"][0]

    def _hidden(self, projected: Tensor, tap: Tensor, start: Tensor) -> Tensor:
        """Return hidden states [T+1, B, H], from the tanh of `start` [B, H] on."""
        return unroll(projected, tap, tf.tanh(start), self._dense["gru.recurrent"], self._dense["gru.bias"][1])

    def _read(self, hidden: Tensor, stepped: Tensor, behaviour: Tensor, start: Tensor, at: Tensor) -> Tensor:
        """Return whole states [N, H] at places [N, 2]: the GRU's part of `hidden` [T+1, B, .], and the memory."""
        read = tf.gather_nd(hidden, at)
        if not self.config.memory:
            return read
        nobody = tf.tanh(self._dense["user.bias"])[None]
        flat = self._judged(nobody, tf.reshape(stepped, [-1, self.config.embedding_size]), 0.0)
        expected = tf.reshape(flat, stepped.shape[:2])
        first = tf.tanh(start[:, self.config.recurrent_size :])
        return tf.concat([read, tf.gather_nd(memories(stepped, behaviour, expected, first), at)], axis=1)

    def _products(self, hidden: Tensor) -> Tensor:
        """Return hidden states [T, B, H] times the recurrent kernel, with its bias: [T, B, 3H]."""
        return tf.tensordot(hidden, self._dense["gru.recurrent"], axes=1) + self._dense["gru.bias"][1]

    def _user(self, hidden: Tensor) -> Tensor:
        """Return user vectors before the tanh [N, E] of hidden states [N, H]."""
        return hidden @ self._dense["user.kernel"] + self._dense["user.bias"]

    def _judged(self, users: Tensor, shown: Tensor, biases: Tensor) -> Tensor:
        """Return logits [N] of user vectors and video vectors [N, E]."""
        dense = self._dense
        logits = tf.linalg.matvec(users, dense["head.user"]) + tf.linalg.matvec(shown, dense["head.video"])
        logits += dense["head.bias"] + biases
        if self.config.head == "interaction":
            logits += tf.reduce_sum((users @ dense["head.interaction"]) * shown, axis=1)
        return logits

    def _gradients(
        self, content: Tensor, residuals: Tensor, media: Tensor, start: Tensor, *rest: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the summed weighted loss, and its gradients by dense weights, `content`, `residuals` and `start`.

        What each window passes back is bounded first, see `model.bounding`.
        """
        step_video, behaviour, row, time, video, label, weight, owner = rest
        with tf.GradientTape() as tape:
            vectors = self._vectors(content, residuals, media)
            stepped, shown = tf.gather(vectors, step_video), tf.gather(vectors, video)
            projected = self._projected(stepped, behaviour)
            tap = tf.zeros_like(projected)
            tape.watch([tap, start])
            states = self._hidden(projected, tap, start[:, : self.config.recurrent_size])
            read = self._read(states, stepped, behaviour, start, tf.stack([time, row], axis=1))
            raw = self._user(read)
            users, biases = tf.tanh(raw), self._biases(residuals, video)
            logits = self._judged(users, shown, biases)
            loss = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(label, logits) * weight)
        passed = Passed(*tape.gradient(loss, [stepped, shown, projected, tap, raw, logits, start]))
        if self.options.user_clip:
            steps, facts = tf.concat([stepped, behaviour], axis=2), tf.concat([content, media], axis=1)
            kernel, tabled = self._dense["video.kernel"], 3 * self.config.category_size
            own = 2.0 if self.tables.text is None else 3.0
            given = Inputs(facts, kernel, tabled, vectors, steps, states[:-1], read, users, own)
            norms = (window_norms if self.options.noise else quick_norms)(passed, given, step_video, row, video)
            passed = passed.scaled(shares(norms, owner, self.options.user_clip), row)
        # The gradient of this is the sum of what the windows pass back, as bounded: every factor of it that is not a
        # weight is held still, so each weight gets the product of its layer's input and what its output was passed.
        with tf.GradientTape() as tape:
            tape.watch([content, residuals])
            vectors, biases = self._vectors(content, residuals, media), self._biases(residuals, video)
            surrogate = (
                tf.reduce_sum(passed.stepped * tf.gather(vectors, step_video))
                + tf.reduce_sum(passed.shown * tf.gather(vectors, video))
                + tf.reduce_sum(passed.projected * self._projected(tf.stop_gradient(stepped), behaviour))
                + tf.reduce_sum(passed.products * self._products(tf.stop_gradient(states[:-1])))
                + tf.reduce_sum(passed.raw * self._user(tf.stop_gradient(read)))
                + tf.reduce_sum(passed.logits * self._judged(tf.stop_gradient(users), tf.stop_gradient(shown), biases))
            )
        wanted = [*self._dense.values(), content, residuals]
        return loss, [*tape.gradient(surrogate, wanted, unconnected_gradients="zero"), passed.start]

    def _train_step(
        self, content: Tensor, residuals: Tensor, media: Tensor, start: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        """Move the dense weights by a step; return the loss, and gradients of `content`, `residuals` and `start`."""
        loss, weight, found, seed, pace = self._sums(content, residuals, media, start, *rest)
        total = tf.maximum(weight, 1.0)
        gradients, inputs = found[:-3], found[-3:]
        if self.options.noise:
            gradients = self._noised(gradients, seed)
            total = tf.constant(self.shape.examples / 2.0)  # a number of its own would tell who is in the batch
        self._move([one / total for one in gradients], pace)
        return loss / total, *(one / total for one in inputs)

    def _sums(
        self, content: Tensor, residuals: Tensor, media: Tensor, start: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor]:
        """Return the summed loss, the weight of the examples, what `_gradients` finds, the seed and the pace."""
        behaviour, whole, parts = rest
        steps, rows, _ = behaviour.shape
        examples = (parts.shape[0] - 2) // 2
        sizes = [steps * rows, *3 * [examples], rows, 2]
        step_video, row, time, video, owner, seed = tf.split(whole, sizes)
        label, weight, pace = tf.split(parts, [examples, examples, 2])
        step_video = tf.reshape(step_video, [steps, rows])
        arrays = (step_video, behaviour, row, time, video, label, weight, owner)
        loss, found = self._gradients(content, residuals, media, start, *arrays)
        return loss, tf.reduce_sum(weight), found, seed, pace

    def _move(self, gradients: list[Tensor], pace: Tensor) -> None:
        """Move the dense weights by one step of Adam."""
        gradients, _ = tf.clip_by_global_norm(gradients, self.options.clip)
        for name, gradient in zip(self._dense, gradients, strict=True):
            first, second = self._moments[name]
            first.assign(BETA1 * first + (1 - BETA1) * gradient)
            second.assign(BETA2 * second + (1 - BETA2) * gradient * gradient)
            rate = pace[0] * (self.options.media_rate if name == "media.kernel" else 1.0)
            self._dense[name].assign_sub(rate * first / (tf.sqrt(second) * pace[1] + EPSILON))

    def _noised(self, gradients: list[Tensor], seed: Tensor) -> list[Tensor]:
        spread = self.options.noise * self.options.user_clip
        return [
            gradient + spread * tf.random.stateless_normal(gradient.shape, seed + [at, 0])
            for at, gradient in enumerate(gradients)
        ]


def _arrays(batch: Batch) -> tuple[NDArray[Any], ...]:
    return batch.step_video, batch.behaviour, batch.row, batch.time, batch.video
