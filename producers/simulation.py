"""The simulated world: viewers in sessions look at their slates and answer. No Kafka and no clock.

A viewer exists once per arm, as `u17@online`, `u17@frozen` and so on, and once more inside, as the oracle's. All its
copies come and look at the same moments and have the same luck with the same video; only their slates differ.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from producers.answers import Answer, Writer, reactions_of
from producers.behaviour import Outcomes, Stream, behave, expected_reward, exposure_uniforms, pair_uniforms
from producers.catalogue import Catalogue, Floats
from producers.circles import Circles
from producers.feeds import Feeds, Mailbox, Shown
from producers.goods import Goods
from producers.measures import Measures
from producers.oracle import Oracle
from producers.parameters import Parameters
from producers.profiles import profiles
from producers.sessions import Sessions
from producers.versions import VersionsSeen
from producers.viewers import Viewers
from streams.core.events import Event, EventType, Kind
from streams.pseudonyms import Rename

ONLINE = "online"
_LONGEST_PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Setup:
    """What a run is made of; times in milliseconds.

    Attributes:
      run: begins every event id.
      label_window_ms, fresh_ms: as the workers have them.
      jump_at_s: when every taste jumps, in seconds from the start.
      rename: gives a viewer the name that is known inside.
      products, rooms: shares of the videos that become products and live rooms.
      measure_from: `start`, or `frozen`: once the frozen arm's version is older than the online arm's.
    """

    viewers: int
    arms: tuple[str, ...]
    seed: int
    run: str
    label_window_ms: int
    fresh_ms: int
    jump_at_s: float | None = None
    measure_from: str = "start"
    rename: Rename = str
    products: float = 0.0
    rooms: float = 0.0


class Simulation:
    """Advances the world by ticks; `tick` returns the events that its viewers send.

    Attributes:
      counts: what has happened so far, by name.
      profiles: words by viewer.
    """

    def __init__(self, parameters: Parameters, setup: Setup) -> None:
        self.parameters, self.setup = parameters, setup
        self.start_ms = 0
        self.catalogue = Catalogue(parameters.catalogue, parameters.dimension, setup.seed)
        self.goods = Goods(self.catalogue, parameters.goods, setup.products, setup.rooms, setup.seed)
        topics = self.catalogue.tags.vectors
        self.viewers = Viewers(parameters.viewers, setup.viewers, topics, setup.seed, setup.jump_at_s)
        everyone, names = np.arange(setup.viewers), self.catalogue.tags.names
        tastes, authors = self.viewers.tastes(everyone, 0.0), self.catalogue.authors.vectors
        self.profiles = profiles(parameters.viewers, tastes, topics, names, setup.seed)
        self.circles = Circles(parameters.social, tastes, authors, setup.seed)
        self._known = [False] * setup.viewers  # who came before
        users = [
            setup.rename(user_id(viewer, arm, setup.arms)) for viewer in range(setup.viewers) for arm in setup.arms
        ]
        self.feeds = Feeds(users, self.catalogue, parameters.pace.seen_kept)
        self._oracle = Oracle(self.catalogue, parameters.behaviour, setup.fresh_ms)
        self._oracle_feeds = Feeds([""] * setup.viewers, self.catalogue, parameters.pace.seen_kept)
        self.sessions = Sessions(self.viewers, parameters.pace, setup.seed)
        self.measures = Measures(setup.arms, setup.viewers, setup.seed)
        self.versions = VersionsSeen(setup.arms, setup.run)
        self._write = Writer(setup.run)
        self._owed: list[tuple[int, int, Answer]] = []
        self._owed_count = 0
        self._steps = [0] * setup.viewers
        self._reopen_ms = [0] * len(users)
        self._patience_ms = [0] * len(users)
        self._told = [False] * len(users)
        self._jumped = False
        self.counts: Counter[str] = Counter()

    def begin(self, now_ms: int) -> None:
        """Start the time of the world; before the first tick."""
        self.start_ms = now_ms
        if self.setup.measure_from == "start":
            self.measures.begin(now_ms)

    def tick(self, now_ms: int, budget: int, mailbox: Mailbox) -> list[Event]:
        """Return the events of this moment.

        Args:
          budget: how many events may be sent; answers that are owed are sent in any case.
          mailbox: the newest slate of each user.
        """
        self._jump(now_ms)
        events = self._pay(now_ms)
        ready = self._ready(now_ms, budget - len(events), mailbox, events)
        if ready:
            self._step(ready, now_ms, events)
        while len(events) < budget and self.sessions.active < self.viewers.count:
            viewer = self.sessions.open(now_ms)
            if viewer < 0:
                break
            if not self._known[viewer]:
                self._introduce(viewer, now_ms, events)
            self._open(range(viewer * self._arms, (viewer + 1) * self._arms), now_ms, events)
        self._note_versions(now_ms)
        return events

    def finish(self, now_ms: int) -> list[Event]:
        """Return the answers that are still owed; those that would be late are lost."""
        owed = [(at, answer) for at, _, answer in sorted(self._owed) if not answer.late]
        self.counts["missing"] += len(self._owed) - len(owed)
        self._owed.clear()
        return [event for _, answer in owed for event in self._say(answer, now_ms)]

    def jump(self, now_ms: int) -> None:
        """Let every taste jump now."""
        at_s = (now_ms - self.start_ms) / 1000
        self.viewers.jump(at_s)
        self.setup = replace(self.setup, jump_at_s=at_s)
        self._jumped = False

    def _jump(self, now_ms: int) -> None:
        jump_at_s = self.setup.jump_at_s
        if jump_at_s is not None and not self._jumped and now_ms - self.start_ms >= 1000 * jump_at_s:
            self._jumped = True
            self.measures.jumped()

    @property
    def _arms(self) -> int:
        return len(self.setup.arms)

    def _pay(self, now_ms: int) -> list[Event]:
        """Return the events of the answers that are due."""
        events: list[Event] = []
        while self._owed and self._owed[0][0] <= now_ms:
            events.extend(self._say(heapq.heappop(self._owed)[2], now_ms))
        return events

    def _say(self, answer: Answer, now_ms: int) -> list[Event]:
        catalogue, number = self.catalogue, answer.shown.number
        user, duration_ms = self.feeds.user_ids[answer.copy], int(catalogue.duration_ms[number])
        events = self._write.outcome(user, answer, catalogue.video_id(number), duration_ms, now_ms)
        self.counts["outcomes"] += 1
        self.counts["reactions"] += len(answer.reactions)
        self.counts["late"] += answer.late
        if EventType.PURCHASE in answer.reactions:
            self.goods.bought(number)
        if answer.kind is Kind.LIVE and not answer.skipped:
            self.goods.entered(number)
        return events

    def _ready(
        self, now_ms: int, budget: int, mailbox: Mailbox, events: list[Event]
    ) -> list[tuple[int, list[Shown | None]]]:
        """Return viewers that look at their feeds now, with what each copy sees; reopen feeds that stay empty."""
        ready: list[tuple[int, list[Shown | None]]] = []
        while budget > 0 and (viewer := self.sessions.due(now_ms)) >= 0:
            since = self.sessions.opened_ms[viewer]
            copies = range(viewer * self._arms, (viewer + 1) * self._arms)
            shown = [self.feeds.peek(copy, mailbox, since) for copy in copies]
            lacking = [copy for copy, one in zip(copies, shown, strict=True) if one is None]
            if lacking:
                self._open([copy for copy in lacking if now_ms >= self._reopen_ms[copy]], now_ms, events, again=True)
                waited = now_ms - (self.sessions.waiting_ms[viewer] or now_ms)
                if len(lacking) == len(shown) or waited < 1000 * self.parameters.pace.patience_s:
                    self.sessions.wait(viewer, now_ms)
                    continue
            ready.append((viewer, shown))
            budget -= len(shown) - len(lacking)
        return ready

    def _open(self, copies: Iterable[int], now_ms: int, events: list[Event], again: bool = False) -> None:
        """Open the feeds of copies; one that stays without a slate is opened again, ever less often."""
        patience_ms = round(1000 * self.parameters.pace.patience_s)
        for copy in copies:
            self._patience_ms[copy] = min(2 * self._patience_ms[copy], _LONGEST_PATIENCE_MS) if again else patience_ms
            self._reopen_ms[copy] = now_ms + self._patience_ms[copy]
            self._tell(copy, now_ms, events)
            events.append(self._write.open(self.feeds.user_ids[copy], now_ms))
            self.counts["opens"] += 1

    def _introduce(self, viewer: int, now_ms: int, events: list[Event]) -> None:
        """Let a viewer who comes for the first time say whom it follows and knows, in each arm."""
        self._known[viewer] = True
        names, ids = self.catalogue.authors.names, self.feeds.user_ids
        for arm in range(self._arms):
            user = ids[viewer * self._arms + arm]
            for author in self.circles.follows[viewer].tolist():
                events.append(self._write.tie(user, EventType.FOLLOW, names[author], now_ms))
            for friend in self.circles.friends[viewer].tolist():
                other = ids[friend * self._arms + arm]
                events.append(self._write.tie(user, EventType.BEFRIEND, other, now_ms))
        self.counts["ties"] += self._arms * (self.circles.follows.shape[1] + self.circles.friends.shape[1])

    def _tell(self, copy: int, now_ms: int, events: list[Event]) -> None:
        """Send a viewer's profile before its first session."""
        words = self.profiles[copy // self._arms]
        if words and not self._told[copy]:
            events.append(self._write.profile(self.feeds.user_ids[copy], words, now_ms))
            self.counts["profiles"] += 1
        self._told[copy] = True

    def _step(self, ready: list[tuple[int, list[Shown | None]]], now_ms: int, events: list[Event]) -> None:
        """Let every ready viewer see one video in each arm, and inside in the oracle's."""
        viewers = np.array([viewer for viewer, _ in ready], np.int64)
        at_s = (now_ms - self.start_ms) / 1000
        tastes = self.viewers.tastes(viewers, at_s)
        steps = np.array([self._steps[viewer] for viewer in viewers.tolist()], np.int64)
        luck = pair_uniforms(self.setup.seed, Stream.STEPS, viewers, steps, 4)
        for arm in range(self._arms):
            looking = [row for row, (_, shown) in enumerate(ready) if shown[arm] is not None]
            if looking:
                shown = [one for row in looking if (one := ready[row][1][arm]) is not None]
                rows = np.array(looking, np.int64)
                self._look(arm, viewers[rows], tastes[rows], shown, luck[rows], now_ms, events)
        self._look_as_oracle(viewers, tastes, now_ms)
        for (viewer, _), u in zip(ready, luck.tolist(), strict=True):
            self._steps[viewer] += 1
            pace = self.parameters.pace
            pause_s = between(pace.play_s, u[0]) + between(pace.gap_s, u[1])
            self.sessions.stepped(viewer, now_ms + round(1000 * pause_s))

    def _look(
        self,
        arm: int,
        viewers: NDArray[np.int64],
        tastes: Floats,
        shown: list[Shown],
        luck: Floats,
        now_ms: int,
        events: list[Event],
    ) -> None:
        """Show one video to each of B copies in one arm."""
        numbers = np.array([one.number for one in shown], np.int64)
        copies = viewers * self._arms + arm
        self.feeds.see(copies, numbers)
        outcomes, expected = self._truth(viewers, tastes, numbers)
        versions = [one.model_version for one in shown]
        self.measures.add(now_ms, arm, viewers, outcomes.reward, expected, versions)
        self.counts["impressions"] += len(shown)
        for index, (copy, one, u) in enumerate(zip(copies.tolist(), shown, luck.tolist(), strict=True)):
            video_id = self.catalogue.video_id(one.number)
            events.append(self._write.impression(self.feeds.user_ids[copy], one, video_id, now_ms))
            self._owe(copy, one, outcomes, index, u, now_ms)

    def _owe(self, copy: int, shown: Shown, outcomes: Outcomes, index: int, u: list[float], now_ms: int) -> None:
        """Note what the viewer will say of what it sees; some answers are lost and some come late."""
        pace = self.parameters.pace
        if u[2] < pace.missing:
            self.counts["missing"] += 1
            return
        late = u[2] < pace.missing + pace.late
        delay_ms = 1000 * between(pace.play_s, u[0])
        if late:
            delay_ms = self.setup.label_window_ms * between(pace.late_by, u[3])
        kind = self.goods.kind(shown.number)
        answer = Answer(
            copy,
            shown,
            float(outcomes.watch_ratio[index]),
            bool(outcomes.skipped[index]),
            reactions_of(outcomes, index, kind),
            bool(outcomes.together[index]),
            late,
            kind,
        )
        self._owed_count += 1
        heapq.heappush(self._owed, (now_ms + round(delay_ms), self._owed_count, answer))

    def _look_as_oracle(self, viewers: NDArray[np.int64], tastes: Floats, now_ms: int) -> None:
        picked = self._oracle.pick(tastes, self._oracle_feeds.seen[viewers], now_ms)
        found = picked >= 0
        viewers, picked = viewers[found], picked[found]
        self._oracle_feeds.see(viewers, picked)
        outcomes, expected = self._truth(viewers, tastes[found], picked)
        self.measures.add(now_ms, self._arms, viewers, outcomes.reward, expected)

    def _truth(self, viewers: NDArray[np.int64], tastes: Floats, numbers: NDArray[np.int64]) -> tuple[Outcomes, Floats]:
        """Return what happens, and the expected reward [B], when viewers [B] see videos [B]."""
        catalogue, p = self.catalogue, self.parameters.behaviour
        match = np.einsum("bd,bd->b", tastes, catalogue.vectors[numbers])
        quality, length = catalogue.quality[numbers], catalogue.log_length[numbers]
        u = exposure_uniforms(self.setup.seed, viewers, numbers)
        return behave(match, quality, length, u, p), expected_reward(match, quality, length, p)

    def _note_versions(self, now_ms: int) -> None:
        for copy, slate, arrived_ms in self.feeds.drain():
            self.versions.note(copy % self._arms, slate, arrived_ms)
        if self.setup.measure_from == "frozen" and self.measures.since_ms is None and self.versions.frozen_since_ms:
            self.measures.begin(now_ms)


def user_id(viewer: int, arm: str, arms: tuple[str, ...]) -> str:
    """Return the id of a viewer's copy in an arm; without a comparison it is the viewer's own."""
    return f"u{viewer}" if arms == (ONLINE,) else f"u{viewer}@{arm}"


def between(ends: tuple[float, float], u: float) -> float:
    """Return the point of an interval that a uniform points at."""
    return ends[0] + (ends[1] - ends[0]) * u
