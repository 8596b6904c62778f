"""A worker: the parts of the stream put together around a Faust app. Decisions are in `streams.core`.

A batch goes: decode, load states, step (all in memory, in order); then, while the next batch is computed, its delivery
(`streams.delivery`), and its offset is acknowledged. Any failure in between ends the process at once, and the restart
goes on from what is durable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from streams import failpoints
from streams.attempts import Attempts
from streams.batches import BatchConsumer
from streams.broadcast import Broadcast
from streams.changelog import Changelog, ends_of
from streams.clock import Clock
from streams.codecs import BadRecord
from streams.commits import Commit
from streams.config import Settings
from streams.configured import step_config
from streams.core.activity import Activity
from streams.core.layout import LAYOUT
from streams.core.lifts import Social
from streams.core.pool import FreshPool
from streams.core.step import Partition
from streams.delivery import Delivery, note
from streams.erasures import Erasures
from streams.feeds import Feeds
from streams.gathering import Batch
from streams.http.board import Board
from streams.http.directory import Directory, announcements
from streams.intake import TICK, dead_letter
from streams.measuring import measure
from streams.metrics import WorkerMetrics
from streams.models import ServingModels
from streams.owned import OwnedPartition
from streams.publisher import Out, Publisher
from streams.state_store import open_store
from streams.ticks import tick_ms
from streams.topics import Topics
from streams.tracing import mark
from streams.turn import apply, parts_of
from streams.watermark import GapError, resume_at

log = logging.getLogger("freshloop.worker")

EXIT_FATAL = 70  # the supervisor starts the worker again
HAND_OVER = 5  # turns of the event loop from a batch to its slates on the socket; only then is the next one applied
POPULARITY_HALF_LIVES = 4  # older rewards weigh less than a sixteenth


class Worker:
    """Owns partitions, applies their batches and publishes the effects.

    Attributes:
      ready: states and broadcast topics are up to date; requests may be answered.
      url: where this worker's API is reached, announced with each partition; empty for none.
      services: run in the worker's loop from start to stop.
      delivery: of what parts bring forth.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        pool: FreshPool,
        models: ServingModels,
        metrics: WorkerMetrics,
        clock: Clock,
        topic_ids: Mapping[str, str],
    ) -> None:
        self.settings, self.pool, self.models, self.metrics, self.clock = settings, pool, models, metrics, clock
        self.name = name
        self.topics = Topics(settings)
        self.config = step_config(settings, topic_ids.get(self.topics.events, ""))
        self.owned: dict[int, OwnedPartition] = {}
        self.board, self.directory = Board(), Directory()
        self.ready, self.url = False, ""
        self.services: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.publisher = Publisher(settings)
        activity = Activity(settings.active_users) if settings.friends_lift else None
        self.social = Social(self.config.lifts, pool, activity)
        self.feeds = Feeds(pool, models, metrics, clock, self._dead_video, self._place_seen, activity)
        self.tags = self.feeds.tags
        popular = "popular" in settings.arms.values()
        self.broadcast = Broadcast(
            settings,
            {
                self.topics.videos: self.feeds.on_videos,
                self.topics.vectors: self.feeds.on_vectors,
                self.topics.models: self.feeds.on_models,
                self.topics.workers: self.directory.feed,
                **({self.topics.erasures: self.feeds.on_erasures} if activity is not None else {}),
            },
            {self.topics.feedback: self.feeds.on_feedback} if activity is not None or popular else {},
            clock.now_ms() - POPULARITY_HALF_LIVES * round(1000 * _longest_half_life_s(settings)),
        )
        # States belong to one changelog: what an earlier topic of that name left must not be taken for this one's.
        self._folder = settings.data_dir / "workers" / name / settings.app_id / topic_ids.get(self.topics.states, "any")
        erasures = Erasures(settings, f"worker {name}", self.board)
        self.delivery = Delivery(self.topics, self.publisher, self.board, metrics, clock, erasures)
        self._in_flight = asyncio.Semaphore(settings.in_flight)
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect and begin to read videos and models."""
        await self.publisher.start()
        self.spawn(self.broadcast.run())
        self.spawn(self._tick_idle())
        for service in self.services:
            self.spawn(service())

    async def stop(self) -> None:
        """Let what is in flight finish, then close the stores."""
        await self._settle()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.publisher.stop()
        await self._release(set())
        if self.delivery.traces is not None:
            await asyncio.to_thread(self.delivery.traces.close)

    async def _settle(self) -> None:
        for owned in self.owned.values():
            with suppress(TimeoutError):
                await asyncio.wait_for(owned.commits.settled.wait(), timeout=20)
            if owned.scrubbing is not None:
                await asyncio.wait([owned.scrubbing], timeout=20)

    def spawn(self, coroutine: Any) -> asyncio.Task[None]:
        """Run a coroutine whose failure ends the process."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            die(error)

    # -- partitions -------------------------------------------------------------------------------------------------

    async def take_over(self, partitions: set[int]) -> None:
        """Recover the stores of the partitions that are now ours and let go of the others."""
        self.ready = False
        failpoints.reached("rebalance")
        await self._settle()
        kept = await self._still_ours(partitions)
        await self._release(kept)
        drop_others(self._folder)
        await self.broadcast.caught_up.wait()
        self.feeds.live = True
        new = sorted(partitions - kept)
        ends = await ends_of(self.settings, self.topics.events, new) if new else {}
        for number in new:
            self.owned[number] = await self._open(number, ends[number])
        self.board.keep(partitions)
        told = announcements(partitions, self.name, self.url, self.clock.now_ms())
        await self.publisher.publish(self.topics.workers, 0, told)
        self.ready = True
        self.metrics.ready.set(True)

    async def _still_ours(self, partitions: set[int]) -> set[int]:
        """Return which partitions nobody else has begun to write since our last record: their states are whole."""
        settled = [number for number in sorted(partitions & self.owned.keys()) if self.owned[number].is_settled()]
        ends = await ends_of(self.settings, self.topics.states, settled) if settled else {}
        return {number for number in settled if self.owned[number].store.meta.changelog_offset == ends[number]}

    async def _open(self, number: int, end: int) -> OwnedPartition:
        """Recover a partition whose events end at offset `end`: no event behind it can have been applied before."""
        store = open_store(self._folder / f"p{number}")
        changelog = Changelog(self.settings, self.topics.states, number, self.name)
        await changelog.start()
        read = await changelog.recover(store)
        failpoints.reached("recovered")
        applied, most = store.meta.applied_through, self.settings.in_flight * self.settings.poll_records
        log.info("partition %d: %d changelog records, goes on at %d", number, read, applied)
        core = Partition(number, self.config, self.pool, self.social)
        attempts = Attempts(self._folder / f"attempt-{number}")
        until, layout = min(end, applied + most), self.settings.state_layout or LAYOUT
        return OwnedPartition(core, store, changelog, self.clock.monotonic(), attempts, until, layout)

    async def _release(self, kept: set[int]) -> None:
        for number in self.owned.keys() - kept:
            await self.owned.pop(number).close()

    async def start_positions(self, consumer: BatchConsumer, committed: Mapping[Any, int | None]) -> dict[Any, int]:
        """Return where each partition goes on: where its state ends, which may be beyond what was committed.

        Raises:
          GapError: events between the state and the log's beginning are gone.
        """
        earliest = await consumer.earliest_offsets(*committed) if committed else {}
        positions = {}
        for tp, offset in committed.items():
            owned = self.owned.get(tp.partition)
            applied = owned.next_offset if owned else 0
            positions[tp] = resume_at(f"{tp.topic}-{tp.partition}", earliest[tp], applied, offset if owned else None)
            if owned:
                owned.next_offset = positions[tp]
        failpoints.reached("positions-found")
        return positions

    # -- events -----------------------------------------------------------------------------------------------------

    async def process(self, batch: Batch, ack: Any, take: Callable[[], int], is_current: Callable[[], bool]) -> None:
        """Apply one batch and start its writes; returns once it is applied in memory.

        Args:
          take: called when the batch's turn has come, after which it no longer grows; returns the offsets behind it.
          is_current: asked when the batch's turn has come; what is no longer ours is not applied.
        """
        await self._in_flight.acquire()
        lag = take()
        if not is_current():
            self._in_flight.release()
            ack()
            return
        number = batch.tp.partition
        owned = self.owned[number]
        if batch.begin != owned.next_offset:
            raise GapError(
                f"batch begins at {batch.begin}, the state of partition {number} ends at {owned.next_offset}"
            )
        parts, suspected = parts_of(owned, batch), owned.attempts.suspicious
        for place, part in enumerate(parts):
            if place:
                await self._in_flight.acquire()
                if not is_current():
                    self._in_flight.release()
                    ack()
                    break
            self._apply(owned, part, lag, ack if part is parts[-1] else lambda: None)
            for _ in range(HAND_OVER):
                await asyncio.sleep(0)
            if suspected:  # what is behind a suspect must not take its verdict back
                await owned.commits.settled.wait()

    def _apply(self, owned: OwnedPartition, part: Batch, lag: int, ack: Any) -> None:
        started = self.clock.monotonic()
        marks = None if self.delivery.traces is None else self.delivery.traces.begin(part.tp.partition, part.begin)
        turn = apply(owned, part, self.models, self.feeds.ends, self.settings)
        owned.moved_at = self.clock.monotonic()
        failpoints.reached("batch-applied")
        mark(marks, "apply")
        measure(self.metrics, turn, lag, owned.moved_at - started)
        if turn.entry is not None:
            owned.journalled = self.spawn(note(owned.changelog, turn.entry))
        commit = Commit(turn, lambda: self._stored(ack), marks)
        owned.commits.add(commit)
        self.spawn(self.delivery.deliver(owned, commit, owned.journalled, self._cache_share()))

    def _stored(self, ack: Callable[[], None]) -> None:
        self._in_flight.release()
        ack()

    def _cache_share(self) -> int:
        return max(1, self.settings.cached_users // max(1, len(self.owned)))

    async def _tick_idle(self) -> None:
        """Send a tick to each partition that has no traffic while a label is due, so that its watermark moves."""
        while True:
            await asyncio.sleep(1.0)
            for number, owned in list(self.owned.items()):
                idle_s = self.clock.monotonic() - owned.moved_at
                if idle_s > 1.0 and (stamp := tick_ms(owned.core, idle_s, self.clock.now_ms())):
                    await self.publisher.publish(self.topics.events, number, [Out(None, b"", TICK, stamp)])
                if owned.needs_scrub(self.clock.monotonic()):
                    owned.scrubbing = self.spawn(owned.scrub(self.clock.monotonic()))
            if self.owned:
                self.pool.expire(min(owned.core.watermark_ms for owned in self.owned.values()))
            open_now = self.pool.by_kind(self.clock.now_ms())
            self.metrics.pool_size.set(sum(open_now.values()))
            for kind, count in open_now.items():
                self.metrics.pool_kinds.labels(kind).set(count)
            self.metrics.ready.set(self.ready)
            self.metrics.cached_users.set(sum(len(owned.core.states) for owned in self.owned.values()))

    # -- broadcast --------------------------------------------------------------------------------------------------

    def _dead_video(self, record: Any, bad: BadRecord) -> None:
        """Every worker reads every video; the owner of partition 0 speaks for all."""
        self.metrics.dead_letters.labels(bad.reason).inc()
        if 0 in self.owned:
            self.spawn(self._send_letter(dead_letter(record, bad)))

    async def _send_letter(self, letter: Out) -> None:
        await self.publisher.publish(self.topics.dead_letters, 0, [letter])

    def _place_seen(self, given: dict[int, int]) -> None:
        for owned in self.owned.values():
            owned.core.states.place(list(given), list(given.values()))


def _longest_half_life_s(settings: Settings) -> float:
    """Return how slowly what is read of the feedback loses half its worth."""
    friends = settings.friends_half_life_s if settings.friends_lift else 0.0
    return max(settings.popularity_half_life_s, friends)


def drop_others(folder: Path) -> None:
    """Remove the states that stand beside `folder`: they belong to a changelog that is gone."""
    for other in folder.parent.glob("*"):
        if other != folder:
            log.warning("the states in %s belong to a topic that was wiped, and are removed", other)
            shutil.rmtree(other, ignore_errors=True)


def die(error: BaseException) -> NoReturn:
    """End the process now: what is not acknowledged must not be, and the restart goes on from what is durable."""
    log.critical("worker ends: %s: %s", type(error).__name__, error, exc_info=log.isEnabledFor(logging.DEBUG))
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(EXIT_FATAL)
