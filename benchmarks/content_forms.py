"""`freshloop bench content-forms`: the content towers in the forms that a CPU could serve, beside Keras and NumPy.

Each form is given the same input, one clip at a time, and its processor time is taken. Colours are counted in NumPy
for all of them, as there is nothing to quantise in that. Judged are clips per second, bytes, and what the form does to
the vectors: the cosine to those of float32, and how often clips of one latent topic find each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import tensorflow as tf

from model.content.examples import TOPIC_SIZE, Renderer, boxed
from model.content.media import PATCH_SAMPLES, SOUND_RATE
from model.content.nets import TowerNet
from model.content.retrieval import precision_at
from model.content.serving import TowerForward, Weights, colour_counts, pictures_of
from model.content.sound import log_mel
from model.content.towers import FRAMES, SOUND, Tower
from model.content.weights import DEFAULT, read_weights
from streams.core.ports import Floats

CLIPS_OF_TOPIC, COUNT = 4, 3  # nearest looked at
CALIBRATED = 64  # clips that the ranges of int8 are taken from; none of them is measured
FORMS = ("LiteRT float32", "LiteRT float16", "LiteRT int8 weights", "LiteRT int8")

Forward = Callable[[Floats], Floats]


def run(render: Renderer, topics: int, rounds: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON."""
    weights, manifest = read_weights()
    say("rendering clips")
    learned = _clips(render, CALIBRATED // CLIPS_OF_TOPIC, seed + 1)
    judged = _clips(render, topics, seed)
    rows = [
        row
        for tower, at in ((FRAMES, 0), (SOUND, 1))
        for row in _tower(tower, weights, [one[at] for one in learned], [one[at] for one in judged], rounds, say)
    ]
    return {
        "forms": rows, "file_bytes": DEFAULT.stat().st_size, "content_version": manifest.version,
        "clips": len(judged), "rounds": rounds, "seed": seed, "chance": round(
            (CLIPS_OF_TOPIC - 1) / (len(judged) - 1), 4),
    }  # fmt: skip


def _clips(render: Renderer, topics: int, seed: int) -> list[tuple[Floats, Floats]]:
    """Return the input of both towers of `topics` times `CLIPS_OF_TOPIC` rendered clips, each with all its pictures."""
    rng, found = np.random.default_rng([seed, topics]), []
    for _ in range(topics):
        topic = rng.normal(size=TOPIC_SIZE)
        for _ in range(CLIPS_OF_TOPIC):
            clip = render(topic + 0.3 * rng.normal(size=TOPIC_SIZE), int(rng.integers(1 << 30)) + (1 << 31), 0, 4.0)
            times = np.linspace(0.0, 3.9, FRAMES.pictures)
            frames = np.stack([boxed(clip.picture(float(t), 48, 64), FRAMES.height) for t in times])
            starts = np.linspace(0.0, 3.0, SOUND.pictures)
            sound = np.stack([clip.sound(float(start), PATCH_SAMPLES / SOUND_RATE) for start in starts])
            found.append((pictures_of(frames), log_mel(sound.astype(np.float32))))
    return found


def _tower(
    tower: Tower, weights: Weights, learned: Sequence[Floats], judged: Sequence[Floats], rounds: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:  # fmt: skip
    own = {name: weights[name] for name in tower.shapes()}
    net = TowerNet(tower, own)
    plain = sum(value.size for value in own.values())
    ways: dict[str, tuple[Forward, int]] = {
        "NumPy float32": (TowerForward(tower, own), 4 * plain),
        "Keras float32": (_keras(net), 4 * plain),
    }
    for form in FORMS:
        model = converted(net, form, learned)
        ways[form] = (Lite(tower, model), len(model))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, Floats] = {}
    for name, (forward, _) in ways.items():
        vectors[name] = np.stack([forward(one) for one in judged])  # and everything is warm
    for _ in range(rounds):
        for name, (forward, _) in ways.items():
            begun = process_time()
            for one in judged:
                forward(one)
            seconds[name].append((process_time() - begun) / len(judged))
    topics, exact, rows = (
        np.repeat(np.arange(len(judged) // CLIPS_OF_TOPIC), CLIPS_OF_TOPIC),
        vectors["NumPy float32"],
        [],
    )
    for name, (_, size) in ways.items():
        cosines = (vectors[name] * exact).sum(axis=1) / np.linalg.norm(vectors[name], axis=1)
        rows.append({
            "tower": tower.name, "form": name, "bytes": size, "clips_per_second": round(1 / median(seconds[name]), 1),
            "ms": round(1000 * median(seconds[name]), 2), "least_cosine": round(float(cosines.min()), 5),
            "precision": round(precision_at(vectors[name], topics, COUNT), 4),
        })  # fmt: skip
        say(str(rows[-1]))
    return rows


def _counts(tower: Tower, pictures: Floats) -> list[Floats]:
    """Return the colour counts of a clip's pictures, one array [T, n] for each of the tower's pairs."""
    return [colour_counts(pictures, (one,)) for one in tower.colours]


def _traced(net: TowerNet) -> Any:
    """Return a function of pictures [1, T, H, W, C] and their counts, of fixed shapes."""
    tower = net.tower
    shapes: list[tuple[int, ...]] = [(1, tower.pictures, tower.height, tower.width, tower.channels)]
    shapes += [(tower.pictures, bins**3 * cells**2) for bins, cells in tower.colours]
    everything = tf.constant(True, shape=(1, tower.pictures))

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])  # type: ignore[untyped-decorator]
    def vectors(pictures: Any, *counts: Any) -> Any:
        return net.vectors(pictures, counts, everything)

    return vectors


def _keras(net: TowerNet) -> Forward:
    vectors = _traced(net)
    return lambda pictures: np.asarray(vectors(tf.constant(pictures[None]), *_counts(net.tower, pictures)))[0]


def converted(net: TowerNet, form: str, learned: Sequence[Floats]) -> bytes:
    """Return a tower as a LiteRT file.

    Args:
      form: one of `FORMS`; int8 weights are widened as they are used, int8 also computes in it.
      learned: inputs that the ranges of int8 are taken from.
    """
    traced = _traced(net)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], net)
    if form != "LiteRT float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "LiteRT float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "LiteRT int8":
        converter.representative_dataset = lambda: ([one[None], *_counts(net.tower, one)] for one in learned)
    return bytes(converter.convert())


class Lite:
    """A LiteRT file as a forward pass, on one thread."""

    def __init__(self, tower: Tower, model: bytes) -> None:
        self._tower = tower
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it moves to a package of its own, ai-edge-litert; the code is the same
            self._interpreter = tf.lite.Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        self._inputs = {tuple(one["shape"]): one["index"] for one in self._interpreter.get_input_details()}
        self._output = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, pictures: Floats) -> Floats:
        """Return the unit vector [D] of pictures [T, H, W, C]."""
        for value in (pictures[None], *_counts(self._tower, pictures)):
            self._interpreter.set_tensor(self._inputs[value.shape], value)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[0], np.float32)
