"""`freshloop bench compression`: smaller forms of weights, and of the keys that slates are found by, beside float32.

Weights: what a worker would serve from each published form, on the same hidden states. Keys: float16 and int8 in the
exact product and in FAISS' quantisers, ordered without scoring again, so that what the form itself loses is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.large_world import LargeWorld
from benchmarks.pool import FRESH_MS
from benchmarks.trained import trained
from model.config import model_config
from model.forms import packed, widened
from model.manifest import Form
from model.serving import NumpyScorer
from model.weights import Weights, check, from_bytes, to_bytes
from streams.config import load_settings
from streams.core.ports import Floats
from streams.core.tiles import product

FORMS: tuple[Form, ...] = ("float32", "float16", "int8")
VIEWERS, TOP = 256, 20


def run(rounds: int, videos: int, train: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON."""
    settings = load_settings()
    weights, hidden = trained(settings.data_dir / "bench", train, say)
    world = LargeWorld(weights, videos, FRESH_MS)
    config = model_config(settings)
    asked = hidden[np.random.default_rng(2).integers(len(hidden), size=VIEWERS)]
    shown = [video for some in world.videos() for video in some]
    exact: Floats | None = None
    rows = []
    for form in FORMS:
        value = to_bytes(packed(world.weights, form))
        seconds = [_timed(lambda value=value: check(widened(from_bytes(value)), config)) for _ in range(rounds)]  # type: ignore[misc]
        scorer = NumpyScorer(_read(value), config, 1, 0)
        vectors, keys = scorer.encode(shown)
        found = product(scorer.queries(asked), keys)
        if exact is None:
            exact, plain, first, known = found, keys, scorer, vectors
        inputs = np.zeros((VIEWERS, config.input_size - config.embedding_size), np.float32)
        steps = scorer.step(asked, vectors[:VIEWERS], inputs), first.step(asked, known[:VIEWERS], inputs)
        rows.append({
            "form": form, "bytes": len(value), "read_ms": round(1000 * median(seconds), 2),
            "logit_error": _error(found, exact), "state_error": _error(*steps), "recall_at_20": _recall(found, exact),
        })  # fmt: skip
        say(str(rows[-1]))
    assert exact is not None
    return {
        "weights": rows, "keys": _keys(first.queries(asked), plain, exact, rounds, say), "videos": videos,
        "rounds": rounds,
    }  # fmt: skip


def _read(value: bytes) -> Weights:
    return widened(from_bytes(value))


def _keys(
    queries: Floats, keys: Floats, exact: Floats, rounds: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return what forms of the keys [N, D] cost and lose."""
    import faiss

    faiss.omp_set_num_threads(1)
    halves = keys.astype(np.float16)
    scale = np.abs(keys).max(axis=0) / 127
    small = np.rint(keys / scale).astype(np.int8)
    rows = []

    def score(name: str, size: int, make: Callable[[], Floats]) -> None:
        found = make()
        best = np.argpartition(-found, TOP, axis=1)[:, :TOP]
        add(name, size, [_timed(make) for _ in range(rounds)], best)

    def add(name: str, size: int, seconds: list[float], best: NDArray[np.int64]) -> None:
        rows.append({
            "keys": name, "bytes_per_video": round(size / len(keys), 1),
            "us_per_viewer": round(1e6 * median(seconds) / len(queries), 1), "recall_at_20": _overlap(best, exact),
        })  # fmt: skip
        say(str(rows[-1]))

    score("float32, product", keys.nbytes, lambda: product(queries, keys))
    score("float16, widened for each batch", halves.nbytes, lambda: product(queries, halves.astype(np.float32)))
    score("int8, widened for each batch", small.nbytes, lambda: product(queries * scale, small.astype(np.float32)))
    kinds = {"float16": faiss.ScalarQuantizer.QT_fp16, "int8": faiss.ScalarQuantizer.QT_8bit}
    for name, kind in kinds.items():
        index = faiss.IndexScalarQuantizer(keys.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.train(keys)
        index.add(keys)
        seconds = [_timed(lambda index=index: index.search(queries, TOP)) for _ in range(rounds)]  # type: ignore[misc]
        add(f"{name}, FAISS, all keys", index.sa_code_size() * len(keys), seconds, index.search(queries, TOP)[1])
    return rows


def _timed(what: Callable[[], Any]) -> float:
    begun = perf_counter()
    what()
    return perf_counter() - begun


def _error(found: Floats, exact: Floats) -> dict[str, float]:
    wrong = np.abs(found - exact)
    return {"mean": float(f"{wrong.mean():.2g}"), "most": float(f"{wrong.max():.2g}")}


def _recall(found: Floats, exact: Floats) -> float:
    return _overlap(np.argpartition(-found, TOP, axis=1)[:, :TOP], exact)


def _overlap(best: NDArray[np.int64], exact: Floats) -> float:
    wanted = np.argpartition(-exact, TOP, axis=1)[:, :TOP]
    shares = [len(np.intersect1d(mine, theirs)) / TOP for mine, theirs in zip(best, wanted, strict=True)]
    return round(float(np.mean(shares)), 4)
