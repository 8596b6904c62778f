"""`bench pool`: what a slate costs in pools of 1,000 to 1,000,000 videos, and what an index finds of the exact slate.

Contestants, which take turns in every round, on the same hidden states and the same pool:
- `bare`: one product of 64 queries with all keys, `argpartition`, and the best 20 sorted; nothing filtered.
- `exact`: Freshloop's slates without an index: head, filters (fresh, unseen, threshold, author cap), best 20.
- `served`: what a worker does at that size by its settings: exact in a small pool, by the index in a large one.
Recall is the part of the exact slate that is in the served one: after all filters, exploration apart.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.large_world import NOW_MS, LargeWorld
from benchmarks.trained import trained
from model.config import model_config
from model.serving import NumpyScorer
from model.weights import Weights
from streams.config import Settings, load_settings
from streams.configured import make_pool, step_config
from streams.core.hashing import seeds_of
from streams.core.ports import Floats
from streams.core.ranking import Policy, Ranked
from streams.core.slates import Order, Slated, rank_slates
from streams.core.state import UserStates
from streams.core.tiles import TILE, product

Say = Callable[[str], None]
SLATES, SEEN, FRESH_MS = 256, 200, 30 * 86_400_000
_TOP = 20


class Feed:
    """A pool of some size under a trained model, and viewers with a history in it."""

    def __init__(self, settings: Settings, weights: Weights, hidden: Floats, count: int) -> None:
        self.settings = load_settings(pool_capacity=max(count, settings.pool_capacity))
        world = LargeWorld(weights, count, FRESH_MS)
        before = _resident_mb()
        self.pool = make_pool(self.settings)
        for videos in world.videos():
            self.pool.add(videos)
        self.pool.expire(NOW_MS)
        self.scorer = NumpyScorer(world.weights, model_config(self.settings), 1, 0)
        started = perf_counter()
        self.encoded = self.pool.encoded(self.scorer)
        self.seconds = perf_counter() - started
        rng = np.random.default_rng(2)
        self.hidden = hidden[rng.integers(len(hidden), size=SLATES)]
        self.places = np.arange(SLATES)
        self.now = np.full(SLATES, NOW_MS)
        self.policy = Policy(_TOP, self.settings.slate_minimum, self.settings.threshold, self.settings.author_cap, 0.0)
        self.slated = self._slated(rng)
        self.megabytes = _resident_mb() - before

    def _slated(self, rng: np.random.Generator) -> Slated:
        """Return what the slates rest on: half of what viewers have seen is what the model holds best for them."""
        states = UserStates(step_config(self.settings).shape, self.pool)
        rows = states.rows([f"u{number}" for number in range(SLATES)])
        size, seen = self.pool.size, min(SEEN, self.pool.size // 4)
        queries = self.scorer.queries(self.hidden)
        liked = np.concatenate([
            np.argpartition(product(queries[start : start + TILE], self.encoded.keys[:size]), -seen, axis=1)[:, -seen:]
            for start in range(0, SLATES, TILE)
        ])  # fmt: skip
        half = rng.permuted(liked, axis=1)[:, : seen // 2]
        for slots in (*half.T, *rng.integers(size, size=(seen - seen // 2, SLATES))):
            states.mark_seen(rows, slots, self.pool.keys[slots])
        slated = Slated(SLATES, self.hidden.shape[1], 0 if states.by_key else (size + 7) // 8)
        slated.note(self.places, self.hidden, states.seen_of(rows, slated.bits.shape[1]))
        return slated

    def slates(self) -> Ranked:
        """Return the slates as a worker makes them."""
        seeds = seeds_of(0, self.places)
        orders = [Order("online", "online", self.scorer, self.places)]
        return rank_slates(self.slated, orders, self.now, self.pool, self.policy, seeds)

    def exact(self) -> Ranked:
        """Return the slates without an index."""
        index, self.encoded.index = self.encoded.index, None
        try:
            return self.slates()
        finally:
            self.encoded.index = index

    def bare(self) -> None:
        """Make the product and take its best, nothing else."""
        queries, keys = self.scorer.queries(self.hidden), self.encoded.keys[: self.pool.size]
        for start in range(0, SLATES, TILE):
            logits = queries[start : start + TILE] @ keys.T
            best = np.argpartition(logits, -_TOP, axis=1)[:, -_TOP:]
            np.take_along_axis(best, np.argsort(-np.take_along_axis(logits, best, axis=1), axis=1), axis=1)


def run(sizes: list[int], rounds: int, seconds: float, say: Say) -> dict[str, Any]:
    """Return a row for each size, and how the cost grows from the smallest to the largest."""
    settings = load_settings()
    weights, hidden = trained(Path(settings.data_dir) / "bench", seconds, say)
    rows = []
    for count in sizes:
        say(f"{count} videos")
        rows.append(_measure(Feed(settings, weights, hidden, count), rounds))
        gc.collect()
        say(str(rows[-1]))
    first, last = rows[0], rows[-1]
    return {
        "rows": rows,
        "cost_growth": round(last["served_us"] / first["served_us"], 2),
        "recall_at_20": min(row["recall_at_20"] for row in rows),
        "slates": SLATES, "rounds": rounds, "index_from": settings.index_from, "index_probes": settings.index_probes,
    }  # fmt: skip


def _measure(feed: Feed, rounds: int) -> dict[str, Any]:
    contestants: dict[str, Callable[[], object]] = {"bare": feed.bare, "exact": feed.exact, "served": feed.slates}
    served, exact = feed.slates(), feed.exact()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            repeats = max(1, 20_000 // feed.pool.size)
            started = perf_counter()
            for _ in range(repeats):
                contestant()
            times[name].append(1e6 * (perf_counter() - started) / repeats / SLATES)
    found: dict[str, Any] = {"videos": feed.pool.size}
    for name, measured in times.items():
        found[f"{name}_us"] = round(float(np.median(measured)), 1)
        found[f"{name}_spread_us"] = [round(min(measured), 1), round(max(measured), 1)]
    return found | {
        "ratio_to_bare": round(found["served_us"] / found["bare_us"], 3),
        "ratio_to_exact": round(found["served_us"] / found["exact_us"], 4),
        "recall_at_20": round(_recall(served, exact), 4),
        "indexed": feed.encoded.index is not None,
        "encode_s": round(feed.seconds, 2),
        "resident_mb": round(feed.megabytes),
    }


def _recall(served: Ranked, exact: Ranked) -> float:
    """Return the part of the exact slates that the served ones hold."""
    alike = [len(np.intersect1d(one.slots, other.slots)) for one, other in zip(served, exact, strict=True)]
    return float(sum(alike) / exact.count.sum())


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss / 1e6)
