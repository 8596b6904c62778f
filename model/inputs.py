"""What the blend is told of a user and every item: counts, co-occurrence, audiences and content, from the past alone.

`Inputs` is advanced event by event (`observe`) and read for a request (`features`). A request names the user, the time
and the surface, and nothing of what will be shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.datasets import UNKNOWN, Content, Log
from model.ease import ease_weights, item_vectors
from model.neighbours import AVERAGED, GraphSignals
from model.neighbours import SIGNALS as GRAPH_SIGNALS
from streams.core.ports import Floats
from streams.core.signals import Audience, DecayedCounts, History, PairCounts, recency, widened

HOUR_MS = 3_600_000.0


@dataclass(frozen=True)
class SignalConfig:
    """Sizes and half-lives; all chosen on the development stretch (model/evaluate.toml).

    Attributes:
      half_lives_h: of exposures and of positives; surface_half_lives_h: of counts by surface.
      history: events of a user that count; neighbours: those that item-kNN looks at.
      pseudo: added to counts before the logarithm.
      ease: regularisation; ease_every: events between two solutions, 0 for never; dense_items: above it no EASE.
      dimensions: of item vectors.
      surface_prior: exposures, by the shares of all surfaces, that each surface's counts begin with.
      graph: use what the neighbours of items say (`model.neighbours`).
    """

    half_lives_h: tuple[float, ...] = (2.0, 8.0, 24.0, 72.0, 240.0)
    surface_half_lives_h: tuple[float, ...] = (4.0, 48.0)
    audience_half_life_h: float = 72.0
    history: int = 60
    neighbours: int = 10
    pseudo: float = 0.05
    ease: float = 300.0
    ease_every: int = 30_000
    dense_items: int = 12_000
    dimensions: int = 32
    surface_prior: float = 200.0
    graph: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What is known when a list is asked for."""

    user: int
    time_ms: int
    surface: int = UNKNOWN


@dataclass(frozen=True, slots=True)
class Exposure:
    """What happened after a request: an item was shown, and viewed or not. Fields as in `model.datasets.Log`."""

    user: int
    item: int
    time_ms: int
    positive: bool
    target: bool
    surface: int
    ratio: float
    rated: bool

    @property
    def request(self) -> Request:
        """What was known before."""
        return Request(self.user, self.time_ms, self.surface)


def exposures(log: Log) -> Iterator[Exposure]:
    """Yield the events of a log."""
    columns = [getattr(log, name).tolist() for name in Exposure.__dataclass_fields__]
    return (Exposure(*row) for row in zip(*columns, strict=True))


USER_SIGNALS = (
    "ease", "ease_recent", "ease_positive", "knn", "sequence", "tags", "audience", "audience_positive"
)  # fmt: skip
CONTEXT = ("history", "gap", "last_positive", "skips", "hour_sin", "hour_cos")


class Inputs:
    """Signals of all items and users.

    Attributes:
      names: of the features, in order; `logs` marks those that are logarithms of counts.
      size: items known.

    Args:
      surfaces: the log names the surface of a request.
      repeats: items come again to a user who has had them.
    """

    def __init__(
        self, config: SignalConfig, content: Content, size: int, start_ms: int, surfaces: bool, repeats: bool = False
    ) -> None:
        self.config, self.surfaces = config, surfaces
        hours = [HOUR_MS * one for one in config.half_lives_h]
        self.exposures, self.positives = DecayedCounts(hours, start_ms), DecayedCounts(hours, start_ms)
        self._by_surface: dict[int, DecayedCounts] = {}
        self._start_ms = start_ms
        self.pairs, self.sequence = PairCounts(config.dense_items), PairCounts(config.dense_items)
        self.ease: Floats = np.zeros((0, 0), np.float32)
        self.vectors: Floats = np.zeros((0, config.dimensions), np.float32)
        self.audiences = [
            Audience(config.audience_half_life_h * HOUR_MS, start_ms, config.dimensions) for _ in range(2)
        ]  # of exposures, and of positives
        self.last_ms = np.zeros(0)
        self.histories: dict[int, History] = defaultdict(History)
        self.learned_ms = float(start_ms)
        self.held = False  # counts stand still at the last event learned from, as weights do in the frozen arm
        self._content = _ContentColumns(content)
        counts = [f"{kind}_{h:g}h" for kind in ("shown", "positive") for h in config.half_lives_h]
        counts += [f"surface_{h:g}h" for h in config.surface_half_lives_h]
        signals = (*USER_SIGNALS, "repeat") if repeats else USER_SIGNALS
        self.graph = GraphSignals(content) if config.graph and content.tags else None
        plain = (*counts, "rate", "duration", "since", *signals)
        self._averaged = [plain.index(name) for name in AVERAGED]
        self._plain, self._signals = len(plain), len(signals)
        self.names = (*plain, *GRAPH_SIGNALS) if self.graph else plain
        self.logs = np.array([name in counts for name in self.names])
        self.context_names = (*CONTEXT, *(f"surface_{one}" for one in SURFACES)) if surfaces else CONTEXT
        self.size = 0
        self.grow(size)
        self._table: Floats = np.zeros((len(self.names), size), np.float32)

    def grow(self, size: int) -> None:
        """Make room for `size` items."""
        self.size = max(self.size, size)
        for counts in (self.exposures, self.positives, *self._by_surface.values()):
            counts.grow(size)
        for pairs in (self.pairs, self.sequence):
            pairs.grow(size)
        for audience in self.audiences:
            audience.grow(size)
        self.last_ms = widened(self.last_ms, size, 0)
        self.vectors = widened(self.vectors, size, 0)
        self._content.grow(size)

    def _surface(self, surface: int) -> DecayedCounts:
        """Return the counts of a surface; UNKNOWN stands for all together."""
        key = surface if self.surfaces else UNKNOWN
        if key not in self._by_surface:
            hours = [HOUR_MS * one for one in self.config.surface_half_lives_h]
            self._by_surface[key] = DecayedCounts(hours, self._start_ms)
            self._by_surface[key].grow(self.size)
        return self._by_surface[key]

    def _surface_counts(self, surface: int, now: float) -> Floats:
        """Return counts [K, N] of a surface, drawn to those of all surfaces, and on their scale."""
        everywhere = self._surface(UNKNOWN).at(now)[:, : self.size]
        if surface == UNKNOWN or not self.surfaces:
            return everywhere
        own = self._surface(surface).at(now)[:, : self.size]
        total = everywhere.sum(1, keepdims=True) + np.float32(1e-6)
        prior = np.float32(self.config.surface_prior)
        mixed: Floats = (own * total + prior * everywhere) / (own.sum(1, keepdims=True) + prior)
        return mixed

    # Reading

    def features(self, request: Request, histories: Mapping[int, History] | None = None) -> tuple[Floats, Floats]:
        """Return the features [F, N] of all items for a request, and its context [C]. The table is used again.

        Args:
          histories: of users, in place of those that are counted here.
        """
        if self._table.shape[1] < self.size:
            self._table = np.zeros((len(self.names), self.size), np.float32)
        size, table = self.size, self._table
        now = self.learned_ms if self.held else float(request.time_ms)
        self._item_features(now, request.surface, table)
        history = (self.histories if histories is None else histories).get(request.user)
        rest = table[self._plain - self._signals : self._plain]
        rest[:] = 0.0
        if history is not None and history.items:
            self._user_features(history, now, rest, size)
        if self.graph is not None:
            self._graph_features(self.graph, table, size)
        return table, self._context(request, history)

    def _graph_features(self, graph: GraphSignals, table: Floats, size: int) -> None:
        out = table[self._plain :, :size]
        out[:] = 0.0
        graph.write(table[: self._plain, :size], self._averaged, self.shown, out)
        if self.held:
            out[-1] = 0.0  # nothing is counted any more, so that it says nothing

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which items [N] were ever shown, as far as was learned."""
        found: NDArray[np.bool_] = self.last_ms[: self.size] > 0
        return found

    def _item_features(self, now: float, surface: int, table: Floats) -> None:
        size, count = self.size, len(self.config.half_lives_h)
        pseudo = np.float32(self.config.pseudo)
        shown, positive = self.exposures.at(now)[:, :size], self.positives.at(now)[:, :size]
        np.log(shown + pseudo, out=table[:count])
        np.log(positive + pseudo, out=table[count : 2 * count])
        at = 2 * count
        by_surface = self._surface_counts(surface, now)
        np.log(by_surface + pseudo, out=table[at : at + len(by_surface)])
        at += len(by_surface)
        table[at] = np.log((positive[-1] + np.float32(3.0)) / (shown[-1] + np.float32(10.0)))
        table[at + 1] = self._content.log_duration[:size]
        table[at + 2] = np.log1p(np.maximum(now - self.last_ms[:size], 0.0) / 60_000.0)

    def _user_features(self, history: History, now: float, out: Floats, size: int) -> None:
        items = np.array(history.items[-self.config.history :])
        weights = recency(len(items), 0.93)
        positive = np.array(history.positive[-self.config.history :], np.float32)
        known = items < len(self.ease)
        if known.any():
            rows = np.stack([np.ones_like(weights), weights, weights * positive])[:, known]
            out[:3, : len(self.ease)] = rows @ self.ease[items[known]]
        near = items[-self.config.neighbours :]
        root = np.sqrt(self.pairs.totals[:size] + np.float32(10.0))
        out[3] = self.pairs.weighted(near.tolist(), 1.0 / root[near], size) / root
        last = items[-5:]
        out[4] = np.log(self.sequence.weighted(last.tolist(), recency(len(last), 0.8), size) + np.float32(0.1))
        self._content.likeness(items, weights, out[5])
        vector = self.user_vector(items, weights)
        for row, audience in enumerate(self.audiences, start=6):
            out[row] = audience.affinity(now, vector)[:size]
        if self._signals > len(USER_SIGNALS):
            out[-1][items] = recency(len(items), 0.8)  # of an item that stands there repeatedly, the newest counts

    def user_vector(self, items: NDArray[np.int64], weights: Floats) -> Floats:
        """Return the unit vector [D] of a history."""
        vector: Floats = weights @ self.vectors[items]
        return vector / np.float32(np.linalg.norm(vector) + 1e-6)

    def _context(self, request: Request, history: History | None) -> Floats:
        hour = 2.0 * np.pi * (request.time_ms / (24.0 * HOUR_MS) % 1.0)
        if history is None or not history.items:
            values = [0.0, np.log1p(14_400.0), 0.4, 0.4]
        else:
            gap = np.log1p(max(0.0, request.time_ms - history.last_ms) / 60_000.0)
            recent = history.positive[-20:]
            values = [np.log1p(len(history.items)), gap, float(recent[-1]), sum(recent) / len(recent)]
        values += [np.sin(hour), np.cos(hour)]
        if self.surfaces:
            values += [float(request.surface == one) for one in SURFACES]
        return np.array(values, np.float32)

    # Learning

    def step(self, event: Exposure) -> None:
        """Advance the user's own state alone."""
        if event.item >= self.size:
            self.grow(event.item + 1)
        self.histories[event.user].add(event.item, event.positive, event.time_ms)

    def observe(self, event: Exposure) -> None:
        """Take in an event: everything that is counted, then the user's state."""
        item, positive, time_ms, surface = event.item, event.positive, event.time_ms, event.surface
        if item >= self.size:
            self.grow(item + 1)
        history = self.histories[event.user]
        self.exposures.add(item, time_ms)
        if positive:
            self.positives.add(item, time_ms)
        self._surface(UNKNOWN).add(item, time_ms)
        if surface != UNKNOWN and self.surfaces:
            self._surface(surface).add(item, time_ms)
        self._observe_pairs(history, item, positive, time_ms, 3.0 if surface != UNKNOWN else 1.0)
        self.last_ms[item] = time_ms
        self.learned_ms = float(time_ms)
        history.add(item, positive, time_ms)

    def _observe_pairs(self, history: History, item: int, positive: bool, time_ms: int, weight: float) -> None:
        recent = history.items[-self.config.history :]
        if item not in recent:
            self.pairs.totals[item] += 1.0
            if self.pairs.dense is not None:
                self.pairs.dense[item, item] += 1.0
        if not recent:
            return
        others = [other for other in dict.fromkeys(recent) if other != item]
        if others and item not in recent:
            self.pairs.add(item, others)
        last = [other for other in dict.fromkeys(recent[-5:]) if other != item]
        if last:
            self.sequence.add(item, last, weight, mutual=False)
        items = np.array(recent)
        vector = self.user_vector(items, recency(len(items), 0.93))
        for audience in self.audiences[: 1 + positive]:
            audience.add(item, time_ms, vector)

    def solve(self, vectors: bool = False) -> None:
        """Solve EASE from the pairs so far; make the item vectors too when asked, which only a warm-up should."""
        if self.pairs.dense is None or self.size == 0:
            self.ease = np.zeros((0, 0), np.float32)
            return
        gram = self.pairs.dense[: self.size, : self.size]
        self.ease = ease_weights(gram, self.config.ease)
        if vectors:
            self.vectors = widened(item_vectors(gram, self.config.dimensions), len(self.last_ms), 0)

    def begin(self, log: Log) -> None:
        """Take in the first part of a warm-up at once, its pairs by matrix products; the result is as by `observe`,
        but that audiences begin afterwards and that a pair may be further apart than a history is long.
        """
        if not len(log):
            return
        self.grow(int(log.item.max()) + 1)
        weights = np.ones(len(log))
        times = log.time_ms.astype(np.float64)
        self.exposures.add_many(log.item, times, weights)
        self.positives.add_many(log.item, times, log.positive.astype(np.float64))
        self._surface(UNKNOWN).add_many(log.item, times, weights)
        np.maximum.at(self.last_ms, log.item, times)
        if self.pairs.dense is not None:
            _gram(log, self.pairs.dense)
            self.pairs.totals[:] = np.diag(self.pairs.dense)
        columns = (log.user, log.item, log.positive, log.time_ms)
        for user, item, positive, at in zip(*(column.tolist() for column in columns), strict=True):
            history = self.histories[user]
            last = [other for other in dict.fromkeys(history.items[-5:]) if other != item]
            if last:
                self.sequence.add(item, last, mutual=False)
            if self.pairs.dense is None:
                others = [one for one in dict.fromkeys(history.items[-self.config.history :]) if one != item]
                self.pairs.totals[item] += 1.0
                if others:
                    self.pairs.add(item, others)
            history.add(item, positive, at)


SURFACES = (0, 1, 2, 4, 6)  # those of KuaiRand that are large enough to learn of


def _gram(log: Log, out: Floats) -> None:
    """Add the pairs of all histories to `out` [N, N]."""
    order = np.argsort(log.user, kind="stable")
    cuts = np.flatnonzero(np.diff(log.user[order])) + 1
    for items in np.split(log.item[order], cuts):
        distinct = np.unique(items)
        out[np.ix_(distinct, distinct)] += np.float32(1.0)


class _ContentColumns:
    """Tags and durations of items as arrays; items without have zeros."""

    def __init__(self, content: Content) -> None:
        names = sorted({tag for tags in content.tags for tag in tags})
        place = {name: at for at, name in enumerate(names)}
        self.known = len(content.tags)
        self.tags = np.zeros((self.known, len(names)), np.float32)
        for row, tags in enumerate(content.tags):
            for tag in tags:
                self.tags[row, place[tag]] = 1.0 / len(tags)
        duration = np.array(content.duration_ms, np.float64)
        self.log_duration = np.log1p(duration / 1000.0).astype(np.float32)

    def grow(self, size: int) -> None:
        self.log_duration = widened(self.log_duration, size, 0)

    def likeness(self, items: NDArray[np.int64], weights: Floats, out: Floats) -> None:
        """Write the likeness [N] of each item's tags to those of a history."""
        held = items < self.known
        if held.any():
            profile = weights[held] @ self.tags[items[held]] / weights[held].sum()
            out[: self.known] = self.tags @ profile
