"""One events partition that this worker owns: its states in memory, its store, and the order of its writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streams.attempts import Attempts
from streams.changelog import Changelog
from streams.core.layout import LAYOUT, chunks_of, user_key
from streams.core.migration import downgraded
from streams.core.plan import Plan
from streams.core.step import Partition
from streams.journal import Journal
from streams.state_store import Meta, StateStore


class OwnedPartition:
    """A partition's core, store, changelog and progress.

    Args:
      layout: in which states are written.
    Attributes:
      next_offset: the first offset that is not applied in memory.
      moved_at: when `next_offset` moved last, monotonic seconds.
      turn: counts the calls of `pack`.
      tail: the last batch whose writes are under way; each waits for the one before it.
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
        self.tail: asyncio.Task[None] | None = None
        self.journalled: asyncio.Task[None] | None = None
        self.attempts = attempts
        self.journal = Journal(store.journal(), store.meta.applied_through, replay_until)
        self.turn = 0
        self._layout = layout
        self._in_flight: dict[str, int] = {}
        core.watermark_ms = store.meta.watermark_ms
        for user, impressions in store.unlabelled():
            core.expect(user, impressions)

    def is_settled(self) -> bool:
        """Return whether everything that was applied in memory is stored."""
        done = self.tail is None or (self.tail.done() and not self.tail.cancelled() and self.tail.exception() is None)
        return done and self.next_offset == self.store.meta.applied_through

    async def close(self) -> None:
        """Close the store, the changelog and the note of what is being applied."""
        self.attempts.close()
        self.store.close()
        await self.changelog.stop()

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
        shape = self.core.config.shape
        chunks = self.store.get([key for user, record in records.items() for key in chunks_of(record, user, shape)])
        for user, record in records.items():
            states.load(user, record, chunks)
        return len(users) - len(missing), len(records)

    def pack(self, users: Sequence[str]) -> dict[bytes, bytes]:
        """Return the records of `users` and keep their states in memory until `written`."""
        self.turn += 1
        self._in_flight.update(dict.fromkeys(users, self.turn))
        packed = self.core.states.pack(users)
        if self._layout == LAYOUT:
            return packed
        return {key: downgraded(value, self._layout) if key[:1] == b"u" else value for key, value in packed.items()}

    def progress(self, end: int) -> Meta:
        """Return the progress once every event below `end` is applied."""
        return Meta(end, self.core.watermark_ms)

    def written(self, packed: dict[bytes, bytes], meta: Meta, turn: int, keep: int) -> None:
        """Store what the changelog has acknowledged up to a turn of `pack`, and let go of users beyond `keep`."""
        self.store.put(packed, meta)
        self._in_flight = {user: since for user, since in self._in_flight.items() if since > turn}
        states = self.core.states
        states.drop(user for user in states.oldest(keep) if user not in self._in_flight)
