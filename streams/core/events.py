"""The records of every topic, as validated structs.

Each record carries `schema`, the version of its layout. Encoding is MessagePack; JSON is accepted on input (see
`streams.codecs`). Times are milliseconds since the Unix epoch and say so in their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import isfinite
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

SCHEMA = 1
# The very objects are defaults below: a default is left out of a record by identity, not by value.
CERTAIN = 1.0
NO_PROFILE: tuple[int, ...] = ()

Id = Annotated[str, Meta(min_length=1, max_length=128)]
TimeMs = Annotated[int, Meta(ge=0, le=4_102_444_800_000)]  # the year 2100: beyond it a clock is broken, not early
Millis = Annotated[int, Meta(ge=0, le=86_400_000)]  # a playback or a duration is at most a day
Position = Annotated[int, Meta(ge=0, le=999)]
Word = Annotated[str, Meta(max_length=64)]
MAX_PROFILE = 16  # words of a profile
ProfileWord = Annotated[str, Meta(pattern="^[^=]+=.+$", max_length=64)]


class EventType(StrEnum):
    """What a viewer did. `TASTE` below says which of these advance the hidden state.

    `code` numbers the members in their order, which is part of the stored states: append, never insert.
    """

    code: int

    OPEN = "open"
    IMPRESSION = "impression"
    PLAY = "play"
    WATCH = "watch"
    SKIP = "skip"
    LIKE = "like"
    SHARE = "share"
    COMMENT = "comment"
    FOLLOW = "follow"
    HIDE = "hide"
    PURCHASE = "purchase"
    LIVE_ENTER = "live-enter"
    FORGET = "forget"  # erase what is known of the user
    CONSENT = "consent"  # after it: begin anew
    PROFILE = "profile"  # what the user says of itself, in place of what it said before
    UNFOLLOW = "unfollow"
    BEFRIEND = "befriend"  # with another user, from this one's side: its likes come to be seen here
    UNFRIEND = "unfriend"


for _code, _type in enumerate(EventType):
    _type.code = _code

#: Outcomes: each says something about taste, advances the GRU by one step and yields one feedback record.
TASTE = frozenset(EventType) - {
    EventType.OPEN, EventType.IMPRESSION, EventType.PLAY, EventType.FORGET, EventType.CONSENT, EventType.PROFILE,
    EventType.UNFOLLOW, EventType.BEFRIEND, EventType.UNFRIEND,
}  # fmt: skip
#: What is between two users.
SOCIAL = frozenset({EventType.BEFRIEND, EventType.UNFRIEND})
#: What needs no video.
BARE = SOCIAL | {EventType.OPEN, EventType.FORGET, EventType.CONSENT, EventType.PROFILE, EventType.UNFOLLOW}


class Source(StrEnum):
    """Where the viewer met the video."""

    SLATE = "slate"
    LOG = "log"  # a recorded exposure: impression and outcome in one event
    ORGANIC = "organic"  # search, a profile page, a shared link


class Kind(StrEnum):
    """What a published item is."""

    VIDEO = "video"
    PRODUCT = "product"
    LIVE = "live"


class Record(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True, gc=False, tag_field="schema", tag=SCHEMA):
    """Base of every record; unknown fields are ignored so that newer producers can talk to older workers.

    `schema` is written into every record and checked when one is read.
    """


class Event(Record, frozen=True, gc=False):
    """One thing a viewer did. Topic `events`, key `user_id`.

    `actions` are further outcomes of the same exposure (a recorded log has them in one row). `watch_ms` is playback
    time; zero is real data, absent means that it was not measured. `profile` belongs to the type of that name alone:
    words as `age=25-34` or `interest=cats`, a field as often as it has values; an empty one takes back what was said.
    `other_id` is the other user of `befriend` and `unfriend`, and the author of `follow` and `unfollow`, which are of
    the video's author without it. A `follow` that has no video advances no hidden state.
    """

    event_id: Id
    user_id: Id
    type: EventType
    event_time_ms: TimeMs
    video_id: Id | None = None
    watch_ms: Millis | None = None
    duration_ms: Millis | None = None
    actions: tuple[EventType, ...] = ()
    source: Source = Source.SLATE
    slate_id: Id | None = None
    position: Position | None = None
    profile: Annotated[tuple[ProfileWord, ...], Meta(max_length=MAX_PROFILE)] | None = None
    other_id: Id | None = None

    def __post_init__(self) -> None:
        if (
            self.type not in BARE
            and self.video_id is None
            and (self.type is not EventType.FOLLOW or self.other_id is None)
        ):
            raise ValueError(f"event of type {self.type.value!r} needs a video_id")
        if self.other_id is None:
            if self.type in SOCIAL or (self.type is EventType.UNFOLLOW and self.video_id is None):
                raise ValueError(f"event of type {self.type.value!r} needs an other_id")
        elif self.type in SOCIAL and self.other_id == self.user_id:
            raise ValueError("other_id names another user")
        if (self.slate_id is None) != (self.position is None):
            raise ValueError("slate_id and position come together")
        if (self.profile is not None) != (self.type is EventType.PROFILE):
            raise ValueError("type 'profile' and the field profile come together")

    @property
    def brings_slate(self) -> bool:
        """Whether a slate is made when it is applied: of an opening, and of a step of the hidden state."""
        return self.type is EventType.OPEN or (self.type in TASTE and self.video_id is not None)


class Video(Record, frozen=True, gc=False):
    """A published item. Topic `videos`, key `video_id`; an empty value withdraws it.

    A product is sold out at a `stock` of 0; without one it is never sold out. A live room counts as on air between its
    start and its end, as long as its record is published again every few seconds.
    """

    video_id: Id
    author_id: Id
    published_ms: TimeMs
    kind: Kind = Kind.VIDEO
    duration_ms: Millis = 0  # 0: not known
    tags: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    music_id: Word = ""
    title: Annotated[str, Meta(max_length=500)] = ""
    media: Annotated[str, Meta(max_length=2000)] = ""
    # of a product
    price: Annotated[float, Meta(ge=0.0)] | None = None
    currency: Annotated[str, Meta(pattern="^([A-Z]{3})?$")] = ""  # ISO 4217
    stock: Annotated[int, Meta(ge=0)] | None = None
    shown_in: Annotated[tuple[Id, ...], Meta(max_length=32)] = ()  # video_ids of the videos that show it
    # of a live room
    starts_ms: TimeMs | None = None
    ends_ms: TimeMs | None = None
    ended: bool = False
    viewers: Annotated[int, Meta(ge=0)] = 0  # now

    def __post_init__(self) -> None:
        if self.price is not None and not isfinite(self.price):
            raise ValueError("price must be a finite number")


class SlateItem(NamedTuple):
    """One position of a slate. `propensity` is the probability with which the policy put it there."""

    video_id: str
    score: float
    propensity: float = 1.0
    explored: bool = False


class Slate(Record, frozen=True, gc=False):
    """An ordered list for one user, with what it rests on. Topic `recommendations`, key `user_id`.

    `slate_id` derives from the partition and offset of the event that triggered it, so a slate published again is
    recognisably the same. `state_offset` is the offset of the last event in the state that scored it. Positions are
    columns; `items` shows them as rows.
    """

    slate_id: str
    user_id: str
    event_id: str
    event_time_ms: int
    made_ms: int  # the timestamp of the triggering record, the "now" of the core
    state_offset: int
    model_version: int
    trained_through: int  # feedback records that the serving model has learned from
    youngest_ms: int  # publication time of the youngest candidate
    oldest_ms: int
    candidates: int
    video_ids: Sequence[str]
    scores: Sequence[float]
    explored: Sequence[int] = ()  # positions, ascending
    explored_propensity: float = 1.0
    propensity: float = 1.0  # of the other positions
    arm: str = "online"

    @property
    def items(self) -> tuple[SlateItem, ...]:
        """The positions in order."""
        explored = set(self.explored)
        return tuple(
            SlateItem(video, score, self.explored_propensity, True)
            if position in explored
            else SlateItem(video, score, self.propensity)
            for position, (video, score) in enumerate(zip(self.video_ids, self.scores, strict=True))
        )


class Feedback(Record, frozen=True, gc=False):
    """A labelled impression, or its correction. Topic `feedback`, key `user_id`.

    `impression_id` with `revision` is unique: revision 0 may be provisional (no outcome within the window), later
    revisions correct it. `stepped` tells that the outcome advanced the hidden state, so the records of one user in
    order of `offset` are the inputs of its GRU. `orphan` marks an outcome without a known impression. `profile` has the
    keys of the user's profile in the records of its first step and of what came before it.
    """

    impression_id: str
    user_id: str
    video_id: str
    revision: int
    offset: int  # of the event that caused this record, in its `events` partition
    event_time_ms: int
    impression_ms: int
    provisional: bool = False
    stepped: bool = True
    orphan: bool = False
    late: bool = False
    outcome: str = ""  # the EventType, empty when provisional
    watch_ratio: float = 0.0  # clipped to 5; 0 when there was no playback
    label: float = 0.0  # graded target in [0, 1]
    behaviour: Sequence[float] = ()  # the GRU's behaviour input of this step, as served
    slate_id: str = ""
    position: int = -1
    propensity: float = CERTAIN
    model_version: int = -1  # that scored the impression
    arm: str = "online"
    profile: tuple[int, ...] = NO_PROFILE


class DeadLetter(Record, frozen=True, gc=False):
    """What a dead letter says of itself, in the headers; the value of the record is the untouched original."""

    topic: str
    partition: int
    offset: int
    reason: str
