"""One batch of events of one partition: states and events in, states and effects out.

Events of one user keep their order; users do not wait for each other. The batch is cut into waves, the k-th event of
every user in wave k, so that each wave is a few matrix operations over distinct rows. "Now" is the partition's
watermark: the largest record timestamp so far, which never goes back and does not depend on a clock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import behaviour
from streams.core.events import TASTE, Event, EventType, Feedback, Slate, SlateItem
from streams.core.feedback import Join, Pending, SlateMemory, close, outcome, show
from streams.core.hashing import draws, key64, seeds_of, uniforms
from streams.core.pool import FreshPool
from streams.core.ports import Floats, Scorer
from streams.core.ranking import Policy, Ranked, product, rank
from streams.core.state import StateShape, UserStates

Scorers = Callable[[str], Scorer]  # the serving model of an arm

_SLATE_EVENTS = TASTE | {EventType.OPEN}


@dataclass(frozen=True)
class StepConfig:
    """What a step needs to know; times in milliseconds."""

    policy: Policy
    shape: StateShape
    label_window_ms: int = 10_000
    correction_window_ms: int = 600_000
    pending_kept: int = 60
    latest_only: bool = False
    topic_key: str = ""  # distinguishes slates of a topic that was deleted and made again
    arms: dict[str, str] = field(default_factory=dict)  # policies by arm: online, frozen, popular or random

    def arm(self, user_id: str) -> str:
        """Return the arm of a user: what follows the last '@', when it is a configured arm, or `online`."""
        _, at, suffix = user_id.rpartition("@")
        return suffix if at and suffix in self.arms else "online"


@dataclass(frozen=True, slots=True)
class Op:
    """One thing to do for one user: an event, or (`event` is None) closing its due impressions."""

    offset: int
    now_ms: int
    user_id: str
    event: Event | None


@dataclass
class Effects:
    """What a batch asks the shell to do."""

    slates: list[Slate] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)  # users whose state changed, in order
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Step:
    op: Op
    event: Event
    row: int
    arm: str
    slot: int = -1
    inputs: tuple[float, ...] = ()


class Partition:
    """The states of one events partition, and what is due in it.

    Attributes:
      states: the rows in memory.
      watermark_ms: the largest record timestamp so far.
    """

    def __init__(self, number: int, config: StepConfig, slots: int) -> None:
        self.number = number
        self.config = config
        self.states = UserStates(config.shape, slots)
        self.watermark_ms = 0
        self._deadlines: list[tuple[int, str]] = []

    def expect(self, user_id: str, pending: Pending) -> None:
        """Note the deadlines of a recovered user's open impressions."""
        for entry in pending.impressions:
            if entry.revision == 0:
                heapq.heappush(self._deadlines, (entry.shown_ms + self.config.label_window_ms, user_id))

    @property
    def waiting(self) -> bool:
        """Whether an impression waits for its label."""
        return bool(self._deadlines)

    def plan(self, events: Iterable[tuple[int, int, Event | None]]) -> list[Op]:
        """Return what the events ask for, in order, with closings where the watermark passes their deadline.

        Args:
          events: offset, record timestamp (ms) and event, in offset order; None is a tick of an idle partition.
        """
        ops: list[Op] = []
        for offset, timestamp_ms, event in events:
            ops.extend(self.advance(offset, timestamp_ms))
            if event is None:
                continue
            now = self.watermark_ms
            if event.type is EventType.IMPRESSION:
                heapq.heappush(self._deadlines, (now + self.config.label_window_ms, event.user_id))
            ops.append(Op(offset, now, event.user_id, event))
        return ops

    def advance(self, offset: int, timestamp_ms: int) -> list[Op]:
        """Move the watermark and return the closings that are now due, each at `offset`."""
        self.watermark_ms = max(self.watermark_ms, timestamp_ms)
        due = []
        while self._deadlines and self._deadlines[0][0] <= self.watermark_ms:
            deadline, user_id = heapq.heappop(self._deadlines)
            due.append(Op(offset, deadline, user_id, None))
        return due

    def apply(self, ops: Sequence[Op], pool: FreshPool, scorers: Scorers) -> Effects:
        """Apply planned ops; every user of them must have its row loaded (`states.missing` tells which do not)."""
        effects = Effects()
        for wave in _waves(ops):
            self._apply_wave(wave, pool, scorers, effects)
        return effects

    def _apply_wave(self, wave: list[tuple[Op, bool]], pool: FreshPool, scorers: Scorers, effects: Effects) -> None:
        steps: list[_Step] = []
        to_slate: list[_Step] = []
        for op, is_last in wave:
            step = self._note(op, pool, effects)
            if step is None:
                continue
            if step.inputs:
                steps.append(step)
            if step.event.type in _SLATE_EVENTS and (is_last or not self.config.latest_only):
                to_slate.append(step)
        for arm in dict.fromkeys(step.arm for step in (*steps, *to_slate)):
            scorer = scorers(arm)
            stepping = [step for step in steps if step.arm == arm]
            slating = [step for step in to_slate if step.arm == arm]
            self._align({step.row for step in (*stepping, *slating)}, pool, scorer, effects)
            if stepping:
                self._advance_hidden(stepping, pool, scorer)
            if slating:
                self._slate(slating, arm, pool, scorer, effects)

    def _note(self, op: Op, pool: FreshPool, effects: Effects) -> _Step | None:
        """Do the bookkeeping of one op; return what is left to compute for it."""
        states, config, event = self.states, self.config, op.event
        row, arm = states.row(op.user_id), config.arm(op.user_id)
        pending = states.pending[row]
        if event is None:
            records = close(pending, op.user_id, op.offset, op.now_ms - config.label_window_ms, arm)
            effects.feedback.extend(records)
            effects.counts[Join.PROVISIONAL] += len(records)
            if records:
                effects.touched[op.user_id] = None
            return None
        if op.offset <= states.last_offset[row]:
            effects.counts["replayed"] += 1
            return None
        states.last_offset[row] = op.offset
        effects.touched[op.user_id] = None
        step = _Step(op, event, row, arm)
        pending.prune(op.now_ms - config.correction_window_ms, config.pending_kept)
        if event.video_id is not None:
            step.slot = pool.slot(event.video_id)
            if event.type is not EventType.PLAY:
                states.mark_seen(row, key64(event.video_id), step.slot)
        if event.type is EventType.IMPRESSION:
            opened = show(pending, event, op.now_ms) is not None
            effects.counts[Join.OPENED if opened else Join.DUPLICATE] += 1
        elif event.type in TASTE and not self._join(step, pending, pool, effects):
            return None
        return step

    def _join(self, step: _Step, pending: Pending, pool: FreshPool, effects: Effects) -> bool:
        """Join an outcome with its impression and set the step's inputs; False when it is a duplicate."""
        event, states, row = step.event, self.states, step.row
        if (states.recent_events[row, : states.steps[row]] == key64(event.event_id)).any():
            effects.counts[Join.DUPLICATE] += 1
            return False
        duration_ms, kind = pool.facts(event.video_id or "")
        gap_ms = event.event_time_ms - int(states.last_step_ms[row]) if states.steps[row] else 0
        exact = np.array(behaviour(event, duration_ms, kind, gap_ms), np.float16)  # the precision of the stored state
        inputs = tuple(exact.astype(float).tolist())
        window = self.config.label_window_ms
        verdict, record = outcome(pending, event, step.op.offset, step.op.now_ms, duration_ms, window, inputs, step.arm)
        effects.counts[verdict] += 1
        if record is None:
            return False
        effects.feedback.append(record)
        step.inputs = inputs
        return True

    def _align(self, rows: set[int], pool: FreshPool, scorer: Scorer, effects: Effects) -> None:
        """Rebuild the hidden states that another model version made, from their recent steps."""
        index = np.fromiter(sorted(rows), np.int64, len(rows))
        stale = index[self.states.model_version[index] != scorer.version]
        if not len(stale):
            return
        states = self.states
        with_steps = stale[states.steps[stale] > 0]
        if len(with_steps):
            effects.counts["rebuilt"] += len(with_steps)
            states.hidden[with_steps] = rebuild(states, with_steps, pool, scorer)
        states.model_version[stale] = scorer.version

    def _advance_hidden(self, steps: list[_Step], pool: FreshPool, scorer: Scorer) -> None:
        states = self.states
        rows = np.array([step.row for step in steps], np.int64)
        slots = np.array([step.slot for step in steps], np.int64)
        inputs = np.array([step.inputs for step in steps], np.float32)
        vectors = _vectors(pool.encoded(scorer).vectors, slots)
        states.hidden[rows] = scorer.step(states.hidden[rows], vectors, inputs)
        place = states.steps[rows] % states.shape.recent
        states.recent_keys[rows, place] = [key64(step.event.video_id or "") for step in steps]
        states.recent_events[rows, place] = [key64(step.event.event_id) for step in steps]
        states.recent_behaviour[rows, place] = inputs
        states.last_step_ms[rows] = [step.event.event_time_ms for step in steps]
        states.steps[rows] += 1

    def _slate(self, steps: list[_Step], arm: str, pool: FreshPool, scorer: Scorer, effects: Effects) -> None:
        states, size, policy = self.states, pool.size, self.config.policy
        rows = np.array([step.row for step in steps], np.int64)
        seeds = seeds_of(self.number, np.array([step.op.offset for step in steps], np.int64))
        seen = np.unpackbits(states.seen_bits[rows], axis=1, count=size, bitorder="little").view(bool)
        fresh = _fresh(pool, [step.op.now_ms for step in steps])
        kind = self.config.arms.get(arm, "online")
        if kind == "random":
            logits = uniforms(draws(seeds, size)).astype(np.float32)
        elif kind == "popular":
            logits = np.tile(np.log1p(pool.popularity[:size]).astype(np.float32), (len(steps), 1))
        else:
            logits = product(scorer.queries(states.hidden[rows]), pool.encoded(scorer).keys[:size])
        if kind in ("random", "popular"):
            policy = Policy(policy.size, policy.size, policy.threshold, policy.author_cap, policy.exploration)
        ranked = rank(logits, fresh & ~seen, pool.authors[:size], policy, seeds)
        for step, slate, mask in zip(steps, ranked, np.broadcast_to(fresh, (len(steps), size)), strict=True):
            effects.slates.append(self._publishable(step, slate, mask, arm, pool, scorer))

    def _publishable(
        self, step: _Step, ranked: Ranked, fresh: NDArray[np.bool_], arm: str, pool: FreshPool, scorer: Scorer
    ) -> Slate:
        op, policy = step.op, self.config.policy
        memory = SlateMemory(op.offset, scorer.version, policy.exploration, ranked.explored)
        self.states.pending[step.row].remember(memory)
        explored = dict(ranked.explored)
        scores = 1.0 / (1.0 + np.exp(-ranked.logits.astype(np.float64)))
        published = pool.published_ms[: pool.size][fresh]
        items = tuple(
            SlateItem(
                video_id=video.video_id,
                score=round(float(score), 6),
                propensity=explored.get(position, 1.0 - policy.exploration),
                explored=position in explored,
            )
            for position, (slot, score) in enumerate(zip(ranked.slots.tolist(), scores, strict=True))
            if (video := pool.videos[slot]) is not None
        )
        return Slate(
            slate_id=f"{self.config.topic_key}{self.number}-{op.offset}",
            user_id=op.user_id,
            event_id=step.event.event_id,
            event_time_ms=step.event.event_time_ms,
            made_ms=op.now_ms,
            state_offset=op.offset,
            model_version=scorer.version,
            trained_through=scorer.trained_through,
            youngest_ms=int(published.max(initial=0)),
            oldest_ms=int(published.min(initial=op.now_ms)),
            candidates=len(published),
            items=items,
            arm=arm,
        )


def rebuild(states: UserStates, rows: NDArray[np.int64], pool: FreshPool, scorer: Scorer) -> Floats:
    """Return hidden states [B, H] of `rows`, made anew by `scorer` from the recent steps that are kept."""
    recent = states.shape.recent
    count = np.minimum(states.steps[rows], recent)
    first = np.where(states.steps[rows] > recent, states.steps[rows] % recent, 0)
    vectors = pool.encoded(scorer).vectors
    hidden = np.zeros((len(rows), states.shape.hidden), np.float32)
    for t in range(int(count.max(initial=0))):
        live = np.flatnonzero(count > t)
        place = (first[live] + t) % recent
        slots = pool.slots_of_keys(states.recent_keys[rows[live], place])
        inputs = states.recent_behaviour[rows[live], place].astype(np.float32)
        hidden[live] = scorer.step(hidden[live], _vectors(vectors, slots), inputs)
    return hidden


def _waves(ops: Sequence[Op]) -> list[list[tuple[Op, bool]]]:
    """Cut ops into waves of distinct users; each op says whether it is the last event of its user."""
    seen: Counter[str] = Counter()
    last = {op.user_id: index for index, op in enumerate(ops) if op.event is not None}
    waves: list[list[tuple[Op, bool]]] = []
    for index, op in enumerate(ops):
        wave = seen[op.user_id]
        seen[op.user_id] += 1
        if wave == len(waves):
            waves.append([])
        waves[wave].append((op, last.get(op.user_id) == index))
    return waves


def _vectors(vectors: Floats, slots: NDArray[np.int64]) -> Floats:
    """Return vectors [B, E] of slots [B]; zeros where the video is not known."""
    return np.where((slots >= 0)[:, None], vectors[slots], np.float32(0.0))


def _fresh(pool: FreshPool, nows: list[int]) -> NDArray[np.bool_]:
    """Return which slots are fresh: [N] when all moments agree, else [B, N]."""
    early, late = pool.fresh(min(nows)), pool.fresh(max(nows))
    if np.array_equal(early, late):
        return late
    return pool.expires_ms[None, : pool.size] > np.array(nows, np.int64)[:, None]
