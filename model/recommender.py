"""The whole model as the evaluation sees it: counts and co-occurrence, the GRU, and the blend that orders by all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from model.blend import Blend, BlendConfig, Candidates
from model.datasets import Dataset, Log
from model.inputs import Exposure, Inputs, Request, SignalConfig, exposures
from model.sequence import SequenceConfig, SequenceStates, initial_weights
from model.views import ViewConfig, ViewModel, taste_scores
from streams.core.ports import Floats

if TYPE_CHECKING:
    from model.sequence_training import SequenceTrainer

Tell = Callable[[str, int, int], None]  # what, done, total
_BY_ITEM = ("item.in", "item.out", "item.bias", "view.item", "view.bias")


@dataclass(frozen=True)
class RecommenderConfig:
    """Everything that is chosen beforehand.

    Attributes:
      tail: share of the warm-up's events, the newest, on which the blend learns as on a stream.
      room: items that may come beyond those known, as a share; the GRU's tables have that size from the start.
      outcomes: predict the outcome of what is shown, too.
    """

    signals: SignalConfig = field(default_factory=SignalConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    tail: float = 0.05
    room: float = 0.5
    outcomes: bool = True


class Recommender:
    """Ranks and learns. `blend` is ordered without the GRU, `whole` with it; they share candidates and examples.

    Args:
      learning: False holds the weights; users' own states still advance.
      counting: False holds counts and co-occurrence; never without `learning`.
    """

    names: tuple[str, ...] = ("whole", "blend")

    def __init__(self, config: RecommenderConfig, data: Dataset, seed: int, surfaces: bool) -> None:
        self.config, self.seed = config, seed
        self.learning = self.counting = True
        start = int(data.warm.time_ms[round(len(data.warm) * (1 - config.tail))]) if len(data.warm) else 0
        self.inputs = Inputs(
            config.signals, data.content, data.catalogue, start, surfaces and data.surfaces, not data.filter_seen
        )
        self.filter_seen = data.filter_seen
        self.candidates: Candidates | None = None  # of the newest scores, until the event is observed
        self._exposure: Floats | None = None
        known = config.outcomes and bool(data.content.tags)  # a log of clicks alone has no outcome to predict
        self.views: ViewModel | None = None
        if known:
            self.views = ViewModel(config.views, data.content, self.inputs.surfaces, seed, data.before)
        size = round(data.catalogue * (1 + (0 if data.content.tags else config.room))) + 64
        self.states = SequenceStates(initial_weights(size, config.sequence.units, seed), config.sequence)
        count = len(self.inputs.names)
        self.blend = Blend(
            self.inputs.logs, len(self.inputs.context_names), {"whole": count + 1, "blend": count}, config.blend, seed
        )  # fmt: skip
        self._trainer: SequenceTrainer | None = None
        self._rng = np.random.default_rng(seed + 2)
        self._targets = 0
        self._users: dict[int, None] = {}
        self._shown: list[int] = []
        self._active: list[int] = []
        self._events = 0
        self._upcoming: list[int] = []

    def warm(self, log: Log, tell: Tell = lambda *_: None) -> None:
        """Learn from the warm-up: counts and GRU from its first part, then everything as on a stream on the newest."""
        from model.sequence_training import SequenceTrainer  # late: TensorFlow takes seconds

        cut = len(log) - round(len(log) * self.config.tail)
        head = log.take(slice(0, cut))
        self.inputs.begin(head)
        if self.views is not None:
            self.views.begin(exposures(head))
        self.inputs.solve(vectors=True)
        self._trainer = SequenceTrainer(self.states.weights, self.config.sequence, self.seed)
        self._trainer.warm(self.inputs.histories, lambda done, total: tell("training steps of the GRU", done, total))
        self.states.set_weights(self._filled(self._trainer.export()))
        rest = log.take(slice(cut, None))
        upcoming = rest.user.tolist()
        for number, event in enumerate(exposures(rest)):
            if number % 512 == 0:
                self.prepare(upcoming[number : number + 512])
            if event.target and event.item < self.inputs.size:
                self.scores(event.request)
            if event.rated:
                self.predict(event)
            self.observe(event)
            if number % 256 == 0:
                tell("events of the warm-up", number, len(rest))
        self._fine_tune()
        self.inputs.solve()
        self._events = 0

    def frozen(self, counting: bool = False) -> Recommender:
        """Return a model that shares what was learned and learns no more; users' states are its own.

        Args:
          counting: counts and co-occurrence go on all the same, and EASE is solved anew from them; it has its own.
        """
        from copy import copy

        other = copy(self)
        other.learning, other.counting = False, counting
        if counting:
            other.inputs = deepcopy(self.inputs)
        else:
            other.inputs = copy(self.inputs)
            other.inputs.histories = deepcopy(self.inputs.histories)
            other.inputs.held = True
        other.states = deepcopy(self.states)
        return other

    def prepare(self, users: Iterable[int]) -> None:
        """Bring the states of users who are about to come up to date, in one batch; their scores do not change."""
        self._upcoming = list(users)
        self.states.refresh(self._upcoming, self.inputs.histories)

    def scores(self, request: Request) -> Mapping[str, Floats]:
        """Return the scores [N] of the whole catalogue as known now, by variant."""
        table, context = self.inputs.features(request)
        history = self.inputs.histories.get(request.user)
        sequence = self.states.column(request.user, history, self.inputs.size)
        found, self.candidates = self.blend.scores(table, context, self.seen(request.user), sequence)
        return found

    def seen(self, user: int) -> list[int]:
        """Return the items that are taken out of a user's ranking."""
        history = self.inputs.histories.get(user)
        if not self.filter_seen or history is None:
            return []
        return [one for one in set(history.items) if one < self.inputs.size]

    def predict(self, event: Exposure) -> Mapping[str, float]:
        """Return the logits of a positive outcome given that the item is shown, with and without the surface."""
        if self.views is None or not self.learning:
            return {}
        history = self.inputs.histories.get(event.user)
        view = self.states.view(event.user, event.item, history)
        taste = taste_scores(event.item, history, self.inputs.vectors, self.inputs.ease, view)
        self._exposure = self.views.features(event.request, event.item, history, taste)
        return self.views.logits(self._exposure)

    def observe(self, event: Exposure) -> None:
        """Take in what happened; what was scored and predicted of it is learned from."""
        candidates, self.candidates = self.candidates, None
        predicted, self._exposure = self._exposure, None
        user, item = event.user, event.item
        if not self.learning:
            (self.inputs.observe if self.counting else self.inputs.step)(event)
            self.states.advance(user, item, event.positive)
            self._count()
            return
        if candidates is not None and item < candidates.table.shape[1] and np.isfinite(candidates.linear[item]):
            self.blend.learn(candidates, item)
        if self.views is not None and event.rated:
            if predicted is not None:
                self.views.learn(predicted, event.positive)
            self.views.observe(event)
        self.inputs.observe(event)
        self.states.advance(user, item, event.positive)
        self._users[user] = None
        self._shown.append(item)
        self._active.append(user)
        self._targets += event.target
        if self._targets >= self.config.sequence.chunk:
            self._fine_tune()
        self._count()

    def _filled(self, weights: dict[str, Floats]) -> dict[str, Floats]:
        """Return weights in which items never shown have what their neighbours have, where the graph is used."""
        graph = self.inputs.graph
        return weights if graph is None else graph.filled(weights, _BY_ITEM, self.inputs.shown)

    def _count(self) -> None:
        self._events += 1
        every = self.config.signals.ease_every
        if self.counting and every and self._events % every == 0:
            self.inputs.solve()

    def _fine_tune(self) -> None:
        """Train the GRU on the users of the chunk, beside users from before; then swap the weights in."""
        settings, histories = self.config.sequence, self.inputs.histories
        if self._trainer is not None and self._active and settings.online_steps:
            self._trainer.observe(self._shown)
            fresh = list(self._users)
            self._active = self._active[-20_000:]
            everyone = list(histories)
            for _ in range(settings.online_steps):
                half = settings.batch // 2
                chosen = [fresh[at] for at in self._rng.permutation(len(fresh))[:half]]
                windows = [(histories[user], settings.fresh) for user in chosen]
                recent = self._rng.integers(0, len(self._active), settings.batch - half - settings.batch // 5)
                old = self._rng.integers(0, len(everyone), settings.batch // 5)
                replayed = [self._active[at] for at in recent] + [everyone[at] for at in old]
                windows += [(histories[user], settings.replayed) for user in replayed]
                self._trainer.step(windows, settings.online_rate)
            self.states.set_weights(self._filled(self._trainer.export()))
            self.states.refresh(self._upcoming, histories)
        self._targets = 0
        self._users, self._shown = {}, []
