"""One batch of events of one partition: states and events in, states and effects out.

Events of one user keep their order; users do not wait for each other. The batch is cut into waves, the k-th event of
every user in wave k, so that each wave is a few matrix operations over distinct rows. Slates are ranked once, after
the waves, from the hidden states and seen videos as they were at each event. "Now" is the partition's watermark: the
largest record timestamp so far, which never goes back and does not depend on a clock.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import MAX_WATCH_RATIO, expand, log_gaps
from streams.core.columns import Columns, StepConfig
from streams.core.effects import Effects
from streams.core.erasure import Erased, mark_of
from streams.core.events import EventType, Feedback
from streams.core.feedback import Impression, Impressions, Join, close, feedback_of, outcome, prune, show
from streams.core.hashing import seeds_of
from streams.core.layout import SLATES_KEPT
from streams.core.lifts import Social
from streams.core.limits import beyond, count, count_beyond
from streams.core.plan import Arrivals, Closing, Deadlines, Ints, Plan, waves_of
from streams.core.pool import FreshPool
from streams.core.ports import Scorer, Trial
from streams.core.profile import profile_keys
from streams.core.ranking import Ranked
from streams.core.rebuilding import rebuild, vectors_of
from streams.core.records import FeedbackRecords, slate_records
from streams.core.slates import Order, Slated, rank_slates
from streams.core.state import UserStates
from streams.core.ties import NONE, tied

Scorers = Callable[[str], Scorer]  # the serving model of an arm
Parts = list[tuple[str, NDArray[np.bool_] | None, Scorer]]  # arm, events of the batch (None: all), what serves them
Shares = list[tuple[Scorer, NDArray[np.bool_] | None]]  # of the events of a batch; None for all

_DIGITS = 19  # an offset has fewer


class Partition:
    """The states of one events partition, and what is due in it.

    Attributes:
      states: the rows in memory.
      erased: offset of the event that erased a user, by mark.
      social: what ties of users add to the scores of their slates.
    """

    def __init__(self, number: int, config: StepConfig, pool: FreshPool, social: Social | None = None) -> None:
        self.number = number
        self.config = config
        self.pool = pool
        self.states = UserStates(config.shape, pool)
        self.deadlines = Deadlines(config.label_window_ms)
        self.erased: dict[bytes, int] = {}
        self.social = social or Social(config.lifts, pool)
        self._rest = float(np.float32(1.0 - config.policy.exploration))  # propensity of a position not explored

    @property
    def watermark_ms(self) -> int:
        """The largest record timestamp so far."""
        return self.deadlines.watermark_ms

    @watermark_ms.setter
    def watermark_ms(self, value: int) -> None:
        self.deadlines.watermark_ms = value

    @property
    def due_ms(self) -> int | None:
        """When the first label is due, by the watermark; None when no impression waits."""
        return self.deadlines.first_ms

    def expect(self, user_id: str, impressions: Impressions) -> None:
        """Note the deadlines of a recovered user's open impressions."""
        for entry in impressions:
            if not entry.revision:
                self.deadlines.expect(user_id, entry.shown_ms)

    def forget(self, user_id: str, offset: int, at_ms: int) -> Erased:
        """Erase a user as of the event at `offset`; its row must be in memory, where there is a state that is valid."""
        self.erased[mark_of(user_id)] = offset
        self.deadlines.forget(user_id)
        keys, removed = self.states.forget(user_id)
        return Erased(user_id, offset, at_ms, keys, removed)

    def is_void(self, user_id: str, last_offset: int) -> bool:
        """Tell whether a record of a user that ends at `last_offset` was erased since; -1 asks for the user itself."""
        return bool(self.erased) and last_offset <= self.erased.get(mark_of(user_id), -2)

    def plan(self, arrivals: Arrivals) -> Plan:
        """Return what records ask for, in order, with closings where the watermark passes their deadline."""
        return self.deadlines.plan(arrivals)

    def apply(self, plan: Plan, scorers: Scorers, trial: Trial | None = None) -> Effects:
        """Apply a plan; every user of it must have its row loaded (`states.missing` tells which do not).

        Args:
          trial: serves its share of the users instead, in the arms that follow the model.
        """
        effects = Effects()
        batch = Columns(plan, self.states, self.pool, self.config)
        waiting = {user: list(reversed(closings)) for user, closings in plan.closings.items()}
        width = 0 if self.states.by_key else (self.pool.size + 7) // 8
        slated = Slated(len(plan.events), self.config.shape.hidden, width)
        parts = _parts(batch, self.config, scorers, trial)
        by_scorer = _by_scorer(parts)
        for wave in self._waves(batch, effects):
            live = wave[~batch.replayed[wave]] if batch.replayed.any() else wave
            if waiting:
                self._close_before(wave, batch, waiting)
            if len(live):
                self._wave(live, batch, slated, by_scorer, effects)
        over = batch.limited
        count_beyond(self.states.table, batch.rows[over], plan.offsets[over], plan.now_ms[over])
        for user, closings in waiting.items():
            self._close(user, closings, len(plan.events), batch)
        self._finish(batch, slated, parts, effects)
        return effects

    # -- one wave ---------------------------------------------------------------------------------------------------

    def _wave(self, live: Ints, batch: Columns, slated: Slated, by_scorer: Shares, effects: Effects) -> None:
        states, table = self.states, self.states.table
        table["last_offset"][batch.rows[live]] = batch.plan.offsets[live]
        rows = batch.rows[live]
        if self.config.user_limit:
            count(table, rows, batch.plan.now_ms[live])
        marked = batch.seen[live]
        if marked.any():
            some = live[marked]
            states.mark_seen(batch.rows[some], batch.slots[some], batch.keys[some])
        if batch.tells is not None or states.profiles:
            self._profiles(live, batch)
        if batch.tying is not None:
            self._tie(live[batch.tying[live]], batch)
        taste = batch.taste[live]
        again = (table["recent_events"][rows] == batch.words[live][:, None, :]).all(axis=2).any(axis=1) & taste
        if again.any():
            effects.counts[Join.DUPLICATE] += int(again.sum())
        going = taste & ~again
        slow = batch.slow[live]
        if slow.any():
            for at in np.flatnonzero(slow).tolist():
                going[at] &= self._join(int(live[at]), bool(going[at]), batch, effects)
        effects.counts[Join.JOINED] += int((going & ~slow).sum())
        batch.stepped[live] = going
        batch.slated[live] = (going | batch.opens[live]) & batch.last[live]
        for scorer, members in by_scorer:
            mine = live if members is None else live[members[live]]
            if len(mine):
                self._advance(mine, batch, slated, scorer, effects)

    def _tie(self, places: Ints, batch: Columns) -> None:
        """Take over whom users follow and know from now on."""
        states, most = self.states, self.config.ties_kept
        for place in places.tolist():
            row, slot = int(batch.rows[place]), int(batch.slots[place])
            author = int(self.pool.authors[slot]) if slot >= 0 else 0
            states.set_ties(row, tied(states.ties.get(row, NONE), batch.plan.events[place], author, most))

    def _profiles(self, live: Ints, batch: Columns) -> None:
        """Take in profiles, and note of whom feedback shall tell one: of users who have made no step."""
        states = self.states
        if batch.tells is not None:
            for place in live[batch.tells[live]].tolist():
                states.tell(int(batch.rows[place]), profile_keys(batch.plan.events[place].profile or ()))
        rows = batch.rows[live]
        told = states.has_profile[rows] & (states.table["steps"][rows] == 0)
        for place in live[told].tolist():
            batch.profiles[place] = states.profiles[int(batch.rows[place])]

    def _waves(self, batch: Columns, effects: Effects) -> list[Ints]:
        """Return the waves of the events that are within their users' limits, and count the others."""
        waves, limit, table = waves_of(batch.rows), self.config.user_limit, self.states.table
        if not limit or not waves or int(table["minute_events"][batch.rows].max()) + len(waves) <= limit:
            return waves
        now, live = batch.plan.now_ms, ~batch.replayed
        over = np.flatnonzero(beyond(table, batch.rows, now, live, limit))
        if not len(over):
            return waves
        effects.counts["limited"] += len(over)
        batch.limited = over
        kept = np.setdiff1d(np.arange(len(batch.rows)), over)
        return [kept[wave] for wave in waves_of(batch.rows[kept])]

    def _advance(self, places: Ints, batch: Columns, slated: Slated, scorer: Scorer, effects: Effects) -> None:
        """Step and note what the slates of these events rest on."""
        states, table = self.states, self.states.table
        stepping, slating = places[batch.stepped[places]], places[batch.slated[places]]
        self._align(batch.rows[places[batch.stepped[places] | batch.slated[places]]], scorer, effects)
        if len(stepping):
            rows = batch.rows[stepping]
            steps = table["steps"][rows]
            gaps = np.where(steps > 0, batch.times[stepping] - table["last_step_ms"][rows], 0)
            batch.numbers[stepping, 2] = log_gaps(gaps)
            numbers, flags = batch.numbers[stepping], batch.flags[stepping]
            vectors = vectors_of(self.pool.encoded(scorer).vectors, batch.slots[stepping])
            hidden = scorer.step(table["hidden"][rows], vectors, expand(numbers, flags))
            table["hidden"][rows] = hidden
            place = steps % states.shape.recent
            table["recent_videos"][rows, place] = batch.keys[stepping]
            table["recent_events"][rows, place] = batch.words[stepping]
            table["recent_numbers"][rows, place] = numbers
            table["recent_flags"][rows, place] = flags
            table["last_step_ms"][rows] = batch.times[stepping]
            table["steps"][rows] = steps + 1
        if len(slating):
            rows = batch.rows[slating]
            slated.note(slating, table["hidden"][rows], states.seen_of(rows, slated.bits.shape[1]))
            if states.ties and self.social.lifts:
                tied_ = np.flatnonzero(states.has_ties[rows]).tolist()
                slated.ties.update((int(slating[at]), states.ties[int(rows[at])]) for at in tied_)
            made = table["slates"][rows]
            place = made % SLATES_KEPT
            slated.places[slating] = place
            table["slate_offsets"][rows, place] = batch.plan.offsets[slating]
            table["slates"][rows] = made + 1

    def _align(self, rows: Ints, scorer: Scorer, effects: Effects) -> None:
        """Rebuild the hidden states that another model version made, from their recent steps."""
        table = self.states.table
        stale = rows[table["model_version"][rows] != scorer.version]
        if not len(stale):
            return
        made = table["steps"][stale] > 0
        if made.any():
            effects.counts["rebuilt"] += int(made.sum())
        made |= self.states.has_profile[stale]
        if made.any():
            table["hidden"][stale[made]] = rebuild(self.states, stale[made], self.pool, scorer)
        table["model_version"][stale] = scorer.version

    # -- joins that need the entries of the user --------------------------------------------------------------------

    def _join(self, place: int, going: bool, batch: Columns, effects: Effects) -> bool:
        """Join one event with the open impressions of its user; return whether it makes a step."""
        event, row, config = batch.plan.events[place], int(batch.rows[place]), self.config
        now, offset = int(batch.plan.now_ms[place]), int(batch.plan.offsets[place])
        entries = self.states.impressions.get(row)
        if entries:
            prune(entries, now - config.correction_window_ms, config.pending_kept)
        entries = [] if entries is None else entries
        known = len(entries)
        if event.type is EventType.IMPRESSION:
            opened = show(entries, event, now) is not None
            effects.counts[Join.OPENED if opened else Join.DUPLICATE] += 1
        elif going:
            duration = int(batch.durations[place])
            verdict, joined = outcome(entries, event, offset, now, duration, config.label_window_ms)
            effects.counts[verdict] += 1
            going = joined is not None
            if joined is not None:
                batch.joined[place] = joined
        for entry in entries[known:]:
            self._refer(entry, row, batch)
        self.states.set_open(row, entries)
        return going

    def _refer(self, entry: Impression, row: int, batch: Columns) -> None:
        """Take over what is known of the slate that an impression belongs to, at once or when it is ranked."""
        _, _, tail = entry.slate_id.rpartition("-")
        offset = int(tail) if tail.isascii() and tail.isdigit() and len(tail) < _DIGITS else -1
        ring = self.states.slate_place(row, offset) if offset >= 0 else -1
        if ring < 0:
            return
        place = int(np.searchsorted(batch.plan.offsets, offset))
        if place < len(batch.slated) and batch.plan.offsets[place] == offset and batch.slated[place]:
            batch.unranked.append((entry, place))
            return
        entry.model_version = int(self.states.table["slate_versions"][row, ring])
        entry.propensity = self.states.slate_propensity(row, ring, entry.position)

    def _close_before(self, wave: Ints, batch: Columns, waiting: dict[str, list[Closing]]) -> None:
        for place in wave[batch.slow[wave]].tolist():
            user = batch.plan.users[place]
            if user in waiting:
                self._close(user, waiting[user], place, batch)

    def _close(self, user: str, closings: list[Closing], place: int, batch: Columns) -> None:
        """Close what is due before the event at `place`; `closings` are in reverse order."""
        while closings and closings[-1].before <= place:
            closing = closings.pop()
            row = self.states.row(user)
            entries = self.states.impressions.get(row, [])
            made = close(entries, closing.offset, closing.deadline_ms - self.config.label_window_ms)
            if made:
                batch.closed.append((closing.before, user, made, self.states.untried(row)))

    # -- after the waves --------------------------------------------------------------------------------------------

    def _finish(self, batch: Columns, slated: Slated, parts: Parts, effects: Effects) -> None:
        """Rank the slates, then make the records of the batch."""
        plan, pool = batch.plan, self.pool
        places = np.flatnonzero(batch.slated)
        orders = [
            Order(arm, self.config.arms.get(arm, "online"), scorer, mine)
            for arm, members, scorer in parts
            if len(mine := places if members is None else places[members[places]])
        ]
        if orders:
            mine = np.concatenate([order.places for order in orders])
            seeds = seeds_of(self.number, plan.offsets[mine])
            ranked = rank_slates(slated, orders, plan.now_ms[mine], pool, self.config.policy, seeds, self.social)
            versions = np.repeat([order.scorer.version for order in orders], [len(order.places) for order in orders])
            self._remember(mine, ranked, batch, slated, versions)
            name = f"{self.config.topic_key}{self.number}-"
            effects.ranked = [slate_records(plan, orders, ranked, name, self._rest, pool)]
        for entry, place in batch.unranked:
            entry.model_version = int(slated.versions[place])
            entry.propensity = slated.propensity(place, entry.position)
        self._feedback(batch, effects)
        touched = plan.users if not batch.replayed.any() else [
            user for user, replayed in zip(plan.users, batch.replayed.tolist(), strict=True) if not replayed
        ]  # fmt: skip
        beyond = (batch.steps.ratios >= MAX_WATCH_RATIO) & batch.taste & ~batch.replayed
        effects.counts["clipped"] += int(beyond.sum())
        effects.counts["replayed"] += len(plan.users) - len(touched)
        effects.touched = dict.fromkeys(touched)
        effects.touched.update(dict.fromkeys(user for _, user, *_ in batch.closed))

    def _remember(self, places: Ints, ranked: Ranked, batch: Columns, slated: Slated, versions: Ints) -> None:
        """Note in the states, for the impressions to come, how the slates were made."""
        table, rows, ring = self.states.table, batch.rows[places], slated.places[places]
        masks = np.packbits(ranked.explored, axis=1, bitorder="little")
        table["slate_masks"][rows, ring, : masks.shape[1]] = masks  # of several slates of a row the last one stays
        table["slate_chances"][rows, ring] = ranked.chance
        table["slate_rests"][rows, ring] = self._rest
        table["slate_versions"][rows, ring] = versions
        if batch.unranked:
            slated.keep(places, ranked, self._rest, versions)

    def _feedback(self, batch: Columns, effects: Effects) -> None:
        plan, arm = batch.plan, self.config.arm
        joined: list[tuple[int, int, Feedback]] = []
        for before, user, made, profile in batch.closed:
            joined += [(before, 1, feedback_of(one, user, arm(user), [], profile)) for one in made]
            effects.counts[Join.PROVISIONAL] += len(made)
        if batch.joined:
            inputs = expand(batch.numbers, batch.flags)
            for place, one in batch.joined.items():
                user = plan.users[place]
                profile = batch.profiles.get(place, ())
                joined.append((place, 2, feedback_of(one, user, arm(user), inputs[place].tolist(), profile)))
        complete = np.flatnonzero(batch.stepped & ~batch.slow)
        arms = batch.arm_names(complete.tolist(), self.config)
        effects.labelled = [FeedbackRecords(plan, batch.steps, complete, joined, arms, batch.profiles)]


def _parts(batch: Columns, config: StepConfig, scorers: Scorers, trial: Trial | None) -> Parts:
    """Return the events of a batch by arm; where a trial is on, those apart whose users get its version."""
    if trial is None:
        return [(arm, members, scorers(arm)) for arm, members in batch.arms.items()]
    found: Parts = []
    chosen = trial.chosen(batch.plan.users)
    for arm, members in batch.arms.items():
        if config.arms.get(arm, "online") != "online":
            found.append((arm, members, scorers(arm)))
            continue
        others, on_trial = (~chosen, chosen) if members is None else (members & ~chosen, members & chosen)
        found += [(arm, others, scorers(arm)), (arm, on_trial, trial.scorer)]
    return found


def _by_scorer(parts: Parts) -> Shares:
    """Return which events each scorer steps; several arms may share one."""
    shares: dict[int, tuple[Scorer, NDArray[np.bool_] | None]] = {}
    for _, members, scorer in parts:
        _, others = shares.get(id(scorer), (scorer, None))
        shares[id(scorer)] = scorer, members if others is None or members is None else others | members
    return list(shares.values())


__all__ = ["Effects", "Partition", "Scorers", "StepConfig"]
