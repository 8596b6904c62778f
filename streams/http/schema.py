"""What the API answers, as structs: they are encoded as they are, and the OpenAPI document is generated from them."""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streams.core.events import Event, Slate, Video
from streams.schemas import EVENT_RULES

MAX_SLATE = 200


class Problem(msgspec.Struct):
    """Why a request was not carried out."""

    error: str  # one sentence for a person
    code: str  # a stable word for a program


class VideoFacts(msgspec.Struct):
    """What a viewer may know of a video, a product (its price and stock) or a live room (its times and viewers)."""

    video_id: str
    author_id: str
    kind: str
    published_ms: int
    duration_ms: int
    tags: tuple[str, ...]
    music_id: str
    title: str
    media: str
    price: float | None
    currency: str
    stock: int | None
    shown_in: tuple[str, ...]
    starts_ms: int | None
    ends_ms: int | None
    viewers: int

    @classmethod
    def of(cls, video: Video) -> VideoFacts:
        """Return the facts of a published video."""
        facts = {name: getattr(video, name) for name in cls.__struct_fields__ if name != "kind"}
        return cls(kind=video.kind.value, **facts)


class Item(msgspec.Struct):
    """One position of a slate. `video` is null when the worker no longer knows the video."""

    position: int
    video_id: str
    score: float
    propensity: float
    explored: bool
    video: VideoFacts | None


class SlateAnswer(msgspec.Struct):
    """A slate, and what it rests on."""

    slate_id: str
    user_id: str
    event_id: str
    event_time_ms: int
    made_ms: int
    state_offset: int
    model_version: int
    trained_through: int
    youngest_ms: int
    oldest_ms: int
    candidates: int
    arm: str
    items: Annotated[list[Item], Meta(min_length=1, max_length=MAX_SLATE)]

    @classmethod
    def of(cls, slate: Slate, videos: dict[str, Video], over: Set[str], k: int, user_id: str) -> SlateAnswer:
        """Return the first `k` positions of a slate, without those of items that are over.

        Args:
          user_id: what its user is called by who asked.
        """
        facts = {name: getattr(slate, name) for name in cls.__struct_fields__ if name != "items"}
        facts["user_id"] = user_id
        items = [
            Item(
                place, item.video_id, item.score, item.propensity, item.explored,
                VideoFacts.of(videos[item.video_id]) if item.video_id in videos else None,
            )
            for place, item in enumerate(slate.items) if item.video_id not in over
        ][:k]  # fmt: skip
        return cls(items=items, **facts)


class Accepted(msgspec.Struct):
    """An event that Kafka has acknowledged."""

    event_id: str
    partition: int


class EventsAnswer(msgspec.Struct):
    """What became of events. `slate` is there when it was waited for and came in time."""

    accepted: list[Accepted]
    slate: SlateAnswer | None = None
    event_to_slate_ms: float | None = None


class Explanation(msgspec.Struct):
    """Why a user got a slate."""

    user_id: str
    worker: str
    policy: str  # of the user's arm: online, frozen, popular or random
    model_version: int
    trained_through: int
    state: dict[str, float]
    events: list[dict[str, Any]]
    slate: dict[str, Any] | None
    items: list[dict[str, Any]]
    map: dict[str, list[list[float]]]


class Users(msgspec.Struct):
    """Users of this worker's partitions, the last served first."""

    users: list[str]


class Models(msgspec.Struct):
    """Versions of the model, and which one serves."""

    name: str
    serving: int
    epoch: int
    named: int
    reason: str
    frozen: int | None
    versions: list[dict[str, Any]]


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """A version to put into service; null goes back to the parent of the one that serves."""

    version: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None
    reason: Annotated[str, Meta(max_length=300)] = "by the API"


class Chosen(msgspec.Struct):
    """What serves now, and what did before."""

    version: int
    epoch: int
    was: int
    changed: bool


class Health(msgspec.Struct):
    """How a worker is."""

    status: str  # ok, recovering
    worker: str
    partitions: list[int]
    model_version: int
    videos: int
    workers: list[dict[str, Any]]  # who answers for which partition


ANSWERS = (SlateAnswer, EventsAnswer, Explanation, Users, Models, Chosen, Health, Problem)
REQUESTS = (Event, Choice)


def components() -> dict[str, Any]:
    """Return the JSON Schemas of everything that goes in and out, by name."""
    found = msgspec.json.schema_components([*ANSWERS, *REQUESTS], ref_template="#/components/schemas/{name}")[1]
    found["Event"]["allOf"] = EVENT_RULES
    found["Event"]["required"].remove("schema")  # a person may leave it out
    return dict(found)
