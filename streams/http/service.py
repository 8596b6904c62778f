"""What the API does, without HTTP: slates, events, explanations and versions of one worker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from streams.clock import Clock
from streams.codecs import BadRecord, Decoder, encode
from streams.config import ConfigError, Settings
from streams.core.events import Event, EventType, Slate, Source, Video
from streams.core.graph import TagPairs
from streams.core.lifts import Social
from streams.core.pool import FreshPool
from streams.core.step import StepConfig
from streams.explain import explain, history
from streams.http.board import Board
from streams.http.directory import Announcement, Directory, partition_of
from streams.http.schema import (
    MAX_SLATE,
    Accepted,
    Chosen,
    EventsAnswer,
    Explanation,
    Health,
    Models,
    SlateAnswer,
    Users,
)
from streams.models import ServingModels
from streams.owned import OwnedPartition
from streams.pseudonyms import pseudonyms, renamed
from streams.publisher import Out, Publisher, PublishError
from streams.topics import Topics

MAX_EVENTS = 500  # in one request
PUBLISH_S = 5.0
WAIT_S = 3.0  # for a slate: twenty times its usual delay

_decode_event = Decoder(Event)
_decode_list = msgspec.json.Decoder(list[msgspec.Raw])


class ApiError(Exception):
    """A request that cannot be carried out.

    Attributes:
      status: of the HTTP answer; code: a stable word.
      retry_s: when another try may succeed; None when it will not.
    """

    def __init__(self, status: int, code: str, message: str, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_s = status, code, retry_s


class Versions(Protocol):
    """Model versions as the API sees them."""

    def summary(self) -> dict[str, Any]:
        """Return all versions and what serves, ready for JSON."""
        ...

    def choose(self, version: int | None, reason: str) -> dict[str, Any]:
        """Put a version into service (None: the parent of the present one); blocks until the cluster has it."""
        ...


class Served(Protocol):
    """What the API needs of a worker."""

    settings: Settings
    name: str
    topics: Topics
    config: StepConfig
    pool: FreshPool
    models: ServingModels
    social: Social
    tags: TagPairs
    publisher: Publisher
    clock: Clock
    owned: dict[int, OwnedPartition]
    board: Board
    directory: Directory
    ready: bool


class Service:
    """Answers for the users of one worker's partitions. Lives in the worker's loop, between two batches."""

    def __init__(self, worker: Served, versions: Versions) -> None:
        self._worker, self._versions = worker, versions
        self._rename = pseudonyms(worker.settings)

    # -- who answers ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._worker.name

    @property
    def ready(self) -> bool:
        """Whether states and broadcast topics are up to date."""
        return self._worker.ready

    def elsewhere(self, user_id: str) -> Announcement | None:
        """Return the worker that answers for a user; None when it is this one.

        Raises:
          ApiError: nobody does at the moment.
        """
        number = self._partition(self._rename(user_id))
        if number in self._worker.owned and self._worker.ready:
            return None
        owner = self._worker.directory.owner(number)
        if owner is None or owner.worker == self._worker.name or not owner.url:
            raise ApiError(503, "recovering", "the user's state is being recovered, try again in a moment", 1)
        return owner

    def health(self) -> Health:
        """Say how the worker is."""
        worker = self._worker
        return Health(
            status="ok" if worker.ready else "recovering",
            worker=worker.name,
            partitions=sorted(worker.owned),
            model_version=worker.models.online.version,
            videos=int(worker.pool.fresh(worker.clock.now_ms()).sum()),
            workers=worker.directory.as_list(),
        )

    def users(self, limit: int) -> Users:
        """Return the users served last."""
        return Users(self._worker.board.users(limit))

    # -- slates -----------------------------------------------------------------------------------------------------

    async def slate(self, user_id: str, k: int, fresh: bool) -> SlateAnswer:
        """Return the user's last slate; when there is none, or a fresh one is asked for, one is made first.

        It is made by the stream, from an `open` event, so that impressions of it are joined like any other's.

        Raises:
          ApiError: no slate came in time, or no fresh video is known.
        """
        asked, user_id = user_id, self._rename(user_id)
        self._refuse_erased(user_id)
        slate = None if fresh else self._worker.board.last(user_id)
        if slate is None or len(self._over(slate)) == len(slate.video_ids):  # also one from before there were videos
            now = self._worker.clock.now_ms()
            opened = Event(
                event_id=f"open-{uuid.uuid4()}", user_id=user_id, type=EventType.OPEN, event_time_ms=now,
                source=Source.ORGANIC,
            )  # fmt: skip
            slate, _ = await self._publish_and_wait([opened], opened)
            if slate is None:
                raise ApiError(503, "no-slate", "no slate came in time, try again in a moment", 1)
        return self._answer(slate, k, asked)

    def _refuse_erased(self, user_id: str) -> None:
        if self._worker.owned[self._partition(user_id)].is_erased(user_id):
            raise ApiError(410, "forgotten", "this user asked to be forgotten; a 'consent' event lets it come back")

    def _answer(self, slate: Slate, k: int, asked: str) -> SlateAnswer:
        over = self._over(slate)
        if len(over) == len(slate.video_ids):
            raise ApiError(503, "no-videos", "no fresh video is known yet, publish some or try again in a moment", 2)
        return SlateAnswer.of(slate, self._videos(item.video_id for item in slate.items), over, k, asked)

    def _over(self, slate: Slate) -> set[str]:
        """Return what of a slate has been withdrawn, sold out or over since it was made, by its partition's time."""
        pool, owned = self._worker.pool, self._worker.owned.get(self._partition(slate.user_id))
        slots = pool.slots(slate.video_ids)  # what has none any more is over, too: closed items give theirs away first
        now_ms = self._worker.clock.now_ms() if owned is None else owned.core.watermark_ms
        gone = (slots < 0) | ~pool.windows.are_open(slots, now_ms)
        return {video_id for video_id, is_gone in zip(slate.video_ids, gone.tolist(), strict=True) if is_gone}

    def _videos(self, video_ids: Any) -> dict[str, Video]:
        pool = self._worker.pool
        found = ((video_id, pool.slot(video_id)) for video_id in video_ids)
        return {one: video for one, slot in found if slot >= 0 and (video := pool.videos[slot]) is not None}

    # -- events -----------------------------------------------------------------------------------------------------

    async def accept(self, events: Sequence[Event], wait: bool) -> EventsAnswer:
        """Publish events; with `wait`, until the slate that the last one triggers is there.

        Raises:
          ApiError: Kafka did not acknowledge them; they may be sent again, since event ids are deduplicated.
        """
        asked = events[-1].user_id
        events = [renamed(event, self._rename) for event in events]
        accepted = [Accepted(event.event_id, self._partition(event.user_id)) for event in events]
        last = events[-1]
        if not wait or not last.brings_slate:
            await self._publish(events)
            return EventsAnswer(accepted)
        slate, took_ms = await self._publish_and_wait(events, last)
        return EventsAnswer(accepted, self._answer(slate, MAX_SLATE, asked) if slate else None, took_ms)

    async def _publish_and_wait(self, events: Sequence[Event], last: Event) -> tuple[Slate | None, float | None]:
        clock = self._worker.clock
        started = clock.monotonic()
        with self._worker.board.expecting(last.event_id) as future:
            await self._publish(events)
            try:
                async with asyncio.timeout(WAIT_S):
                    slate = await future
            except TimeoutError:
                return None, None
        return slate, round(1000 * (clock.monotonic() - started), 1)

    async def _publish(self, events: Sequence[Event]) -> None:
        by_partition: dict[int, list[Out]] = {}
        for event in events:
            record = Out(event.user_id.encode(), encode(event))
            by_partition.setdefault(self._partition(event.user_id), []).append(record)
        topic, publish = self._worker.topics.events, self._worker.publisher.publish
        try:
            async with asyncio.timeout(PUBLISH_S):
                await asyncio.gather(*(publish(topic, number, records) for number, records in by_partition.items()))
        except (PublishError, TimeoutError):
            raise ApiError(503, "broker", "Kafka did not acknowledge the events, send them again", 1) from None

    def _partition(self, user_id: str) -> int:
        return partition_of(user_id, self._worker.settings.partitions)

    # -- why --------------------------------------------------------------------------------------------------------

    def explain(self, user_id: str) -> Explanation:
        """Explain the user's state and last slate.

        Raises:
          ApiError: nothing is known of the user.
        """
        worker = self._worker
        asked, user_id = user_id, self._rename(user_id)
        self._refuse_erased(user_id)
        owned = worker.owned[self._partition(user_id)]
        owned.load_users([user_id])
        if user_id not in owned.core.states:
            raise ApiError(404, "unknown-user", "nothing is known of this user")
        arm = worker.config.arm(user_id)
        slate = worker.board.last(user_id)
        state, scorer = history(owned.core.states, user_id), worker.models.scorer_of(user_id, arm)
        found = explain(slate, state, worker.pool, scorer, worker.social, worker.tags)
        return Explanation(
            user_id=asked, worker=worker.name, policy=worker.config.arms.get(arm, "online"), **found
        )  # fmt: skip

    # -- versions ---------------------------------------------------------------------------------------------------

    def models(self) -> Models:
        """Return the versions that this worker knows."""
        return msgspec.convert(self._versions.summary(), Models)

    async def choose(self, version: int | None, reason: str) -> Chosen:
        """Put a version into service.

        Raises:
          ApiError: it cannot serve, or the cluster fails.
        """
        try:
            done = await asyncio.to_thread(self._versions.choose, version, reason)
        except ConfigError as error:
            raise ApiError(409, "cannot-serve", str(error)) from None
        return msgspec.convert(done, Chosen)


def decode_events(body: bytes) -> list[Event]:
    """Return the events of a request: one JSON object, or an array of them.

    Raises:
      ApiError: not JSON, none or too many, or one is not valid; nothing is published then.
    """
    if body.lstrip()[:1] != b"[":
        return [_event(body, "")]
    try:
        found = _decode_list.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(422, "not-decodable", f"the body is not JSON: {error}") from None
    if not 1 <= len(found) <= MAX_EVENTS:
        raise ApiError(422, "count", f"a request takes 1 to {MAX_EVENTS} events, not {len(found)}")
    return [_event(bytes(raw), f"event {number}: ") for number, raw in enumerate(found)]


def _event(value: bytes, where: str) -> Event:
    if value.lstrip()[:1] != b"{":
        raise ApiError(422, "not-decodable", f"{where}an event is a JSON object")
    try:
        return _decode_event(value)
    except BadRecord as bad:
        raise ApiError(422, bad.reason, f"{where}{bad.detail}") from None
