"""What freshness is worth on a recorded log: one model that learns, seen through delays of its parts, in one pass.

The leader ranks and learns as in `freshloop evaluate`. Every variant ranks the same targets with a part of the leader
as it was at the last boundary of its delay: users' histories and states, weights, or weights with counts and
co-occurrence. What is learned does not depend on what is shown in a recorded log, so one pass serves all variants,
and their differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.delays import AT_ONCE, Boundary, Queue
from model.effects import Effects
from model.inputs import Exposure, Inputs, Request
from model.rates import Rates
from model.recommender import Recommender
from model.views import Learner, ViewModel, taste_scores
from streams.core.ports import Floats

FRESH = "fresh"
WHOLE = "whole"  # the network that is compared


@dataclass(frozen=True)
class Setting:
    """Delays in milliseconds; AT_ONCE, or NEVER.

    Attributes:
      state: of what a user did, in histories and hidden states.
      weights: of the linear scorer, the networks and the GRU.
      counts: of counts and co-occurrence, together with the weights. EASE is taken over at the same boundaries.
    """

    name: str
    state: int = AT_ONCE
    weights: int = AT_ONCE
    counts: int = AT_ONCE

    def __post_init__(self) -> None:
        if self.state != AT_ONCE and (self.weights, self.counts) != (AT_ONCE, AT_ONCE):
            raise ValueError("delay the state, or what is learned, and not both")
        if self.counts not in (AT_ONCE, self.weights):
            raise ValueError("counts are delayed as the weights are, or not at all")


class Freshness:
    """A leader and its variants; implements `model.evaluate.Evaluated`.

    Args:
      leader: warm, and about to see the first event of the stream at `start_ms`.
      every: of the targets, and of the events, every so many are judged; the leader learns from all.
    """

    def __init__(self, leader: Recommender, settings: Iterable[Setting], start_ms: int, every: int = 1) -> None:
        self.leader, self.every = leader, every
        self._targets = self._events = 0
        self.variants = [Variant(leader, setting, start_ms) for setting in settings]
        self.names = (FRESH, *(one.setting.name for one in self.variants))

    def prepare(self, users: Iterable[int]) -> None:
        """Bring states up to date in one batch; no score depends on it."""
        coming = list(users)
        self.leader.prepare(coming)
        for one in self.variants:
            one.prepare(coming)

    def scores(self, request: Request) -> Mapping[str, Floats]:
        """Return scores [N] by variant. Variants come first that use the leader's table of features for their own."""
        self._advance(request.time_ms)
        self._targets += 1
        if (self._targets - 1) % self.every:
            self.leader.scores(request)
            return {}
        found: dict[str, Floats] = {}
        equal = []
        late = []
        for one in self.variants:
            if one.equals_leader(request.user):
                equal.append(one.setting.name)
            elif one.has_own_features:
                found[one.setting.name] = one.scores(request)
            else:
                late.append(one)
        found[FRESH] = self.leader.scores(request)[WHOLE]
        for one in late:
            found[one.setting.name] = one.reordered(request)
        return found | dict.fromkeys(equal, found[FRESH])

    def predict(self, event: Exposure) -> Mapping[str, float]:
        """Return the logits of a long view by variant; with the surface of the request, where the log names it."""
        self._advance(event.time_ms)
        predicted = self.leader.predict(event)
        self._events += 1
        if self.leader.views is None or not predicted or (self._events - 1) % self.every:
            return {}
        name = _learner(self.leader.views)
        found = {FRESH: predicted[name]}
        for one in self.variants:
            found[one.setting.name] = found[FRESH] if one.equals_leader(event.user) else one.predict(event, name)
        return found

    def _advance(self, now_ms: int) -> None:
        """Bring the variants to a moment, before the leader learns what happens in it."""
        for one in self.variants:
            one.advance(now_ms)

    def observe(self, event: Exposure) -> None:
        """Let the leader learn; the variants see it when their boundary comes."""
        self._advance(event.time_ms)
        self.leader.observe(event)
        for one in self.variants:
            one.observe(event)


class Variant:
    """The leader through one delay."""

    def __init__(self, leader: Recommender, setting: Setting, start_ms: int) -> None:
        self.setting, self._leader = setting, leader
        self._queue = Queue(setting.state or setting.counts) if setting.state or setting.counts else None
        self.inputs = leader.inputs
        if setting.counts:
            self.inputs = _own_inputs(leader)
        self._histories = deepcopy(leader.inputs.histories) if setting.state else leader.inputs.histories
        self._states = deepcopy(leader.states)
        self._weights_of = leader.states.version  # the leader's version that these states follow
        self._boundary = Boundary(setting.weights, start_ms) if setting.weights else None
        self._blend = leader.blend.held(WHOLE) if setting.weights else leader.blend
        self._coming: list[int] = []
        self._views = self._reader = leader.views
        self._learner: Learner | None = None
        if leader.views is not None:
            self._make_views(leader.views)

    def _make_views(self, leader: ViewModel) -> None:
        own = copy(leader)
        own.rates, own.ratios, own.last_ratio = leader.rates.fork(), deepcopy(leader.ratios), dict(leader.last_ratio)
        own.effects = {name: effects.fork() for name, effects in leader.effects.items()}
        self._views, reader = own, copy(leader)
        users, items = (own if self.setting.state else leader), (own if self.setting.counts else leader)
        reader.rates = _SplitRates(users.rates, items.rates)
        reader.ratios = _Split(users.ratios, items.ratios)  # type: ignore[assignment]  # it is only read
        reader.last_ratio = users.last_ratio
        reader.effects = {name: _SplitEffects(users.effects[name], items.effects[name]) for name in own.effects}
        self._reader = reader
        if self.setting.weights:
            self._learner = leader.learners[_learner(leader)].held()

    @property
    def has_own_features(self) -> bool:
        """Whether its features of items are others than the leader's."""
        return self._queue is not None

    def advance(self, now_ms: int) -> None:
        """Take in what has become visible by now."""
        leader = self._leader
        if self._queue is not None:
            for event in self._queue.visible(now_ms):
                self._see(event)
        if self._boundary is None:
            self._follow()
        elif self._boundary.passed(now_ms):
            self._blend = leader.blend.held(WHOLE)
            if self.setting.counts:
                self.inputs.ease = leader.inputs.ease
            if leader.views is not None:
                self._learner = leader.views.learners[_learner(leader.views)].held()
            self._follow()

    def _follow(self) -> None:
        """Take over the weights of the leader's GRU as they are now."""
        if self._weights_of != self._leader.states.version:
            self._weights_of = self._leader.states.version
            self._states.set_weights(self._leader.states.weights)
            self._states.refresh(self._coming, self._histories)

    def _see(self, event: Exposure) -> None:
        if self.setting.state:
            self._histories[event.user].add(event.item, event.positive, event.time_ms)
            self._states.advance(event.user, event.item, event.positive)
        else:
            self.inputs.observe(event)
        if self._views is not None and event.rated:
            self._views.observe(event)

    def observe(self, event: Exposure) -> None:
        """Note what happened."""
        if self._queue is not None:
            self._queue.add(event)
        if event.item >= self.inputs.size:
            self.inputs.grow(event.item + 1)
        if not self.setting.state:
            self._states.advance(event.user, event.item, event.positive)

    def prepare(self, users: list[int]) -> None:
        """Bring states of users up to date."""
        self._coming = users
        self._states.refresh(users, self._histories)

    def equals_leader(self, user: int) -> bool:
        """Return whether nothing that this user's scores rest on is hidden from this variant."""
        setting, leader = self.setting, self._leader
        if setting.counts or (self._queue is not None and self._queue.waits(user)):
            return False
        if not setting.weights:
            return True
        blend, other = self._blend, leader.blend
        return (
            self._weights_of == leader.states.version
            and blend.networks[WHOLE].steps == other.networks[WHOLE].steps
            and np.array_equal(blend.linear.weights, other.linear.weights)
            and np.array_equal(blend.linear.scale, other.linear.scale)
            and (leader.views is None or _steps(self._learner) == _steps(leader.views.learners[_learner(leader.views)]))
        )

    def scores(self, request: Request) -> Floats:
        """Return scores [N] from features of its own; these may take the place of the leader's."""
        return self._ordered(request, *self.inputs.features(request, self._histories))

    def reordered(self, request: Request) -> Floats:
        """Return scores [N] from the features that the leader has just used."""
        candidates = self._leader.candidates
        assert candidates is not None
        return self._ordered(request, candidates.table, candidates.context)

    def _ordered(self, request: Request, table: Floats, context: Floats) -> Floats:
        history = self._histories.get(request.user)
        column = self._states.column(request.user, history, table.shape[1])
        taken = [one for one in self._leader.seen(request.user) if one < table.shape[1]]
        found: Floats = self._blend.scores(table, context, taken, column)[0][WHOLE]
        return found

    def predict(self, event: Exposure, name: str) -> float:
        """Return the logit of a long view."""
        assert self._reader is not None
        history = self._histories.get(event.user)
        view = self._states.view(event.user, event.item, history)
        taste = taste_scores(event.item, history, self.inputs.vectors, self.inputs.ease, view)
        features = self._reader.features(event.request, event.item, history, taste)
        learner = self._learner or self._reader.learners[name]
        return learner.logit(features)


def _own_inputs(leader: Recommender) -> Inputs:
    """Return counts and co-occurrence that go on by themselves; EASE and vectors stay as they are."""
    ease, vectors = leader.inputs.ease, leader.inputs.vectors
    own = deepcopy(leader.inputs, {id(ease): ease, id(vectors): vectors})
    own.held = True  # they are as of the newest event that is visible
    return own


def _learner(views: ViewModel) -> str:
    return "with_surface" if "with_surface" in views.learners else "without_surface"


def _steps(learner: Learner | None) -> int:
    return learner.steps if learner is not None else -1


class _Split:
    """A mapping read from one for keys of users (their first part begins with u) and from another for all others."""

    def __init__(self, users: Mapping[Any, Any], others: Mapping[Any, Any]) -> None:
        self._users, self._others = users, others

    def get(self, key: Any, default: Any = None) -> Any:
        return (self._users if key[0].startswith("u") else self._others).get(key, default)


class _SplitRates(Rates):
    """Rates, divided in the same way."""

    def __init__(self, users: Rates, others: Rates) -> None:
        super().__init__(users.prior)
        self._users, self._others = users, others

    def counts(self, key: Any, at_ms: float, half_life_ms: float) -> tuple[float, float]:
        return (self._users if key[0].startswith("u") else self._others).counts(key, at_ms, half_life_ms)


class _SplitEffects(Effects):
    """Effects, divided in the same way."""

    def __init__(self, users: Effects, others: Effects) -> None:
        super().__init__(users.precisions)
        self._users, self._others = users, others

    def weight(self, key: Any) -> float:
        return (self._users if key[0].startswith("u") else self._others).weight(key)
