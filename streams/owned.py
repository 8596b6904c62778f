"""One events partition that this worker owns: its states in memory, its store, and the order of its writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from streams.attempts import Attempts
from streams.changelog import Changelog
from streams.commits import Commits
from streams.core.erasure import is_right, mark_of, parts_of
from streams.core.events import Event, EventType
from streams.core.layout import LAYOUT, chunk_key, chunks_of, last_offset_of, user_key
from streams.core.migration import downgraded
from streams.core.plan import Arrivals, Plan
from streams.core.ports import Trial
from streams.core.step import Effects, Partition, Scorers
from streams.journal import Journal
from streams.state_store import Meta, StateStore

SCRUB_PAUSE_S = 5.0  # between two rewritings of a store


class OwnedPartition:
    """A partition's core, store, changelog and progress.

    Args:
      layout: in which states are written.
    Attributes:
      next_offset: the first offset that is not applied in memory.
      moved_at: when `next_offset` moved last, monotonic seconds.
      turn: counts the calls of `pack`.
      scrubbing: removes what was erased from the store's files.
      commits: the parts that are applied in memory and not stored yet.
      journalled: the last entry of the journal whose write is under way; slates wait for it.
    """

    def __init__(
        self,
        core: Partition,
        store: StateStore,
        changelog: Changelog,
        now: float,
        attempts: Attempts,
        replay_until: int = 0,
        layout: int = LAYOUT,
    ) -> None:
        self.core = core
        self.store = store
        self.changelog = changelog
        self.next_offset = store.meta.applied_through
        self.moved_at = now
        self.commits = Commits()
        self.journalled: asyncio.Task[None] | None = None
        self.attempts = attempts
        self.journal = Journal(store.journal(), store.meta.applied_through, replay_until)
        self.turn = 0
        self.scrubbing: asyncio.Task[None] | None = None
        self._scrubbed_at = now - SCRUB_PAUSE_S
        self._layout = layout
        self._in_flight: dict[int, list[str]] = {}  # users by turn, until what was packed of them is stored
        core.watermark_ms = store.meta.watermark_ms
        core.erased = dict(store.erased)
        for user, impressions in store.unlabelled():
            core.expect(user, impressions)

    def is_settled(self) -> bool:
        """Return whether everything that was applied in memory is stored."""
        return self.commits.settled.is_set() and self.next_offset == self.store.meta.applied_through

    async def close(self) -> None:
        """Close the store, the changelog and the note of what is being applied."""
        if self.scrubbing is not None:
            await asyncio.wait([self.scrubbing])
        self.attempts.close()
        self.store.close()
        await self.changelog.stop()

    def apply(self, arrivals: Arrivals, scorers: Scorers, trial: Trial | None = None) -> tuple[Effects, int, int]:
        """Apply records, in order; return the effects, and how many states were in memory and how many were read."""
        core = self.core
        if not core.erased and not any(is_right(arrival[2]) for arrival in arrivals):
            plan = core.plan(arrivals)
            held, read = self.load(plan)
            return core.apply(plan, scorers, trial), held, read
        effects, held, read = Effects(), 0, 0
        for part, forget in parts_of(arrivals):
            plan = core.plan(self._admitted(part, effects))
            found = self.load(plan)
            held, read = held + found[0], read + found[1]
            effects.add(core.apply(plan, scorers, trial))
            if forget is not None:
                self._erase(*forget, effects)
        return effects, held, read

    def is_erased(self, user_id: str) -> bool:
        """Tell whether a user asked to be forgotten and did not come back."""
        if user_id in self.core.states or not self.core.is_void(user_id, -1):
            return False
        record = self.store.get([user_key(user_id)]).get(user_key(user_id))
        return record is None or self.core.is_void(user_id, last_offset_of(record))

    def _admitted(self, arrivals: Arrivals, effects: Effects) -> Arrivals:
        """Return the records with a tick in place of what users do who are erased; their consent lets them in again."""
        if not self.core.erased:
            return arrivals
        back: set[str] = set()
        kept: list[tuple[int, int, Event | None]] = []
        for offset, stamp, event in arrivals:
            if event is not None and event.user_id not in back and self.is_erased(event.user_id):
                if event.type is EventType.CONSENT and not self.core.is_void(event.user_id, offset):
                    back.add(event.user_id)
                else:
                    effects.counts["erased"] += 1
                    event = None
            kept.append((offset, stamp, event))
        return kept

    def _erase(self, offset: int, stamp: int, event: Event, effects: Effects) -> None:
        """Erase a user, unless its state tells that it came back after this event, which is then seen again."""
        user, states = event.user_id, self.core.states
        self.load_users([user])
        if user in states and int(states.table["last_offset"][states.row(user)]) >= offset:
            return
        again = self.core.is_void(user, offset - 1)  # an erasure after this one, or this one seen again
        if again:
            offset = max(offset, self.core.erased[mark_of(user)])
        erased = self.core.forget(user, offset, stamp)
        chunks = [chunk_key(user, number) for number in range(256)]  # also those of a setting that kept more
        # After a kill between the mark and the withdrawals the changelog may hold what recovery kept out of the store.
        erased.keys = list(dict.fromkeys([*erased.keys, *(chunks if again else self.store.get(chunks))]))
        effects.touched.pop(user, None)
        effects.erased.append(erased)

    def load(self, plan: Plan) -> tuple[int, int]:
        """Bring the states that a plan needs into memory; return how many were there and how many were read."""
        return self.load_users(plan.everyone())

    def load_users(self, users: Sequence[str]) -> tuple[int, int]:
        """Bring the states of distinct users into memory, where they have one; return as `load` does."""
        states = self.core.states
        missing = states.missing(users)
        if not missing:
            return len(users), 0
        found = self.store.get([user_key(user) for user in missing])
        records = {user: record for user in missing if (record := found.get(user_key(user))) is not None}
        if self.core.erased:
            records = {user: one for user, one in records.items() if not self.core.is_void(user, last_offset_of(one))}
        shape = self.core.config.shape
        chunks = self.store.get([key for user, record in records.items() for key in chunks_of(record, user, shape)])
        for user, record in records.items():
            states.load(user, record, chunks)
        return len(users) - len(missing), len(records)

    def pack(self, effects: Effects) -> dict[bytes, bytes | None]:
        """Return the records of a batch, None where one is withdrawn, and keep its states in memory until `written`."""
        self.turn += 1
        users = list(effects.touched)
        self._in_flight[self.turn] = users
        packed: dict[bytes, bytes | None] = {}
        for erased in effects.erased:
            packed |= erased.records()
        states = self.core.states.pack(users)
        if self._layout != LAYOUT:
            states = {key: downgraded(one, self._layout) if key[:1] == b"u" else one for key, one in states.items()}
        return packed | states

    def needs_scrub(self, now: float) -> bool:
        """Tell whether something was erased that may stand in the store's files, and the disk had a rest."""
        return self.store.scrub_due and self.scrubbing is None and now - self._scrubbed_at > SCRUB_PAUSE_S

    async def scrub(self, now: float) -> None:
        """Remove what was erased from the store's files too: rewrite them, then begin a new list of them.

        Rewriting is done in a thread, since it takes about a second for each 50 MB; reads and writes go on.
        """
        await asyncio.to_thread(self.store.compact)
        self.store.renew()
        self.scrubbing, self._scrubbed_at = None, now

    def progress(self, end: int) -> Meta:
        """Return the progress once every event below `end` is applied."""
        return Meta(end, self.core.watermark_ms)

    def written(self, packed: Mapping[bytes, bytes | None], meta: Meta, turn: int, keep: int) -> None:
        """Store what the changelog has acknowledged up to a turn of `pack`, and let go of users beyond `keep`."""
        self.store.put(packed, meta)
        self._in_flight = {since: users for since, users in self._in_flight.items() if since > turn}
        states = self.core.states
        if oldest := states.oldest(keep):
            busy = set().union(*self._in_flight.values())
            states.drop(user for user in oldest if user not in busy)
