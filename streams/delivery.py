"""What follows when a part is applied: slates, feedback and dead letters acknowledged, then its state stored.

Slates need not wait for the states of older parts; states are stored in the order in which they were made, those that
are ready together (`streams.commits`).
"""

from __future__ import annotations

import asyncio

from streams import failpoints
from streams.changelog import Changelog
from streams.clock import Clock
from streams.commits import Commit, newest
from streams.erasures import Erasures
from streams.http.board import Board
from streams.intake import by_home
from streams.journal import Entry, encode_entry
from streams.metrics import WorkerMetrics
from streams.owned import OwnedPartition
from streams.publisher import Publisher, Records
from streams.state_store import Meta
from streams.topics import Topics
from streams.tracing import Traces, mark


async def note(changelog: Changelog, entry: Entry) -> None:
    """Write an entry of the journal; the slates of its part wait for it."""
    await changelog.note(entry)
    failpoints.reached("journal-written")


class Delivery:
    """Publishes and stores what parts brought forth.

    Attributes:
      traces: takes a share of the batches; None for none.
    """

    def __init__(
        self,
        topics: Topics,
        publisher: Publisher,
        board: Board,
        metrics: WorkerMetrics,
        clock: Clock,
        erasures: Erasures,
    ) -> None:
        self._topics, self._publisher, self._board = topics, publisher, board
        self._metrics, self._clock, self._erasures = metrics, clock, erasures
        self.traces: Traces | None = None

    async def deliver(
        self, owned: OwnedPartition, commit: Commit, journalled: asyncio.Task[None] | None, keep: int
    ) -> None:
        """Publish what a part brought forth, then store what is ready to be stored.

        Args:
          journalled: of the entry under which the part was applied.
          keep: users of a partition that stay in memory.
        Raises:
          PublishError: not acknowledged; nothing that rests on it may be committed.
        """
        turn, number = commit.turn, commit.turn.batch.tp.partition
        slates, feedback = turn.effects.slate_pairs(), turn.effects.feedback_pairs()
        if journalled is not None and not journalled.done():
            await journalled
        mark(commit.marks, "journal")
        topics = self._topics
        outputs: list[tuple[str, int, Records]] = [
            (topics.recommendations, number, slates),
            (topics.feedback, number, feedback),
            (topics.dead_letters, 0, [letter for _, letter in turn.intake.dead]),
            *((topics.events, home, records) for home, records in by_home(turn.intake.strays).items()),
            (topics.erasures, 0, self._erasures.told(number, turn.effects.erased)),
        ]
        await asyncio.gather(*(self._publisher.publish(*output) for output in outputs if output[2]))  # a task each
        failpoints.reached("slates-published")
        mark(commit.marks, "publish")
        self._board.published(number, slates, turn.effects.slates_of)
        self._metrics.event_to_slate.observe_many((self._clock.now_ms() - commit.stamps) / 1000)
        commit.counts = {"slates": len(slates), "feedback": len(feedback), "states": len(turn.packed)}
        commit.ready = True
        while group := owned.commits.take():
            await self._store(owned, group, keep)
            owned.commits.written()

    async def _store(self, owned: OwnedPartition, group: list[Commit], keep: int) -> None:
        """Append the states of parts to the changelog, store them, and acknowledge the parts."""
        turns = [commit.turn for commit in group]
        last = turns[-1]
        _mark_all(group, "order")
        packed = newest(turn.packed for turn in turns)
        end = await owned.changelog.append(packed, last.meta)
        failpoints.reached("changelog-published")
        _mark_all(group, "changelog")
        entries = {turn.entry.key(): encode_entry(turn.entry) for turn in turns if turn.entry is not None}
        meta = Meta(last.meta.applied_through, last.meta.watermark_ms, end)
        owned.written(packed | entries if entries else packed, meta, last.number, keep)
        if erased := last.effects.erased:  # its part is alone
            told = self._erasures.receipts(last.batch.tp.partition, erased, end - len(packed) - 1)
            await self._publisher.publish(self._topics.receipts, 0, told)
        failpoints.reached("store-written")
        _mark_all(group, "store")
        now_ms = self._clock.now_ms()
        for commit in group:
            self._metrics.event_to_state.observe_many((now_ms - commit.stamps) / 1000)
            commit.done()
        failpoints.reached("acknowledged")
        _mark_all(group, "acknowledge")
        for commit in group:
            if commit.marks is not None and self.traces is not None:
                batch = commit.turn.batch
                self.traces.batch(commit.marks, batch.tp.partition, batch.records, commit.counts)


def _mark_all(group: list[Commit], step: str) -> None:
    for commit in group:
        mark(commit.marks, step)
