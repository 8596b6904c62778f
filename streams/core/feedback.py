"""Impressions joined with their outcomes: late is told from never, and nothing becomes a silent negative.

An impression opens an entry in its user's state. Each outcome publishes a record at once, with a rising revision. When
the window closes without one, a provisional record is published, and a later outcome corrects it. An outcome without a
slate is complete in itself and leaves no entry.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from streams.core.behaviour import label_of, mask_of, watch_ratio
from streams.core.events import CERTAIN, NO_PROFILE, Event, Feedback, Source


class Impression(msgspec.Struct, array_like=True):
    """One slate position shown to a user, while outcomes may still come.

    `outcomes` has a bit for each `EventType.code`; `revision` is that of the next record.
    """

    slate_id: str  # empty for an exposure of a recorded log, which is joined by `event_id`
    position: int
    event_id: str
    video_id: str
    shown_ms: int
    propensity: float = 1.0
    model_version: int = -1
    ratio: float = 0.0
    outcomes: int = 0
    revision: int = 0
    orphan: bool = False

    @property
    def impression_id(self) -> str:
        """The id that joins events to this impression."""
        return f"{self.slate_id}/{self.position}/{self.video_id}" if self.slate_id else self.event_id


Impressions = list[Impression]  # of one user, oldest first


class Join(StrEnum):
    """What became of an event in the join; counted."""

    OPENED = "opened"
    JOINED = "joined"
    LATE = "late"
    ORPHAN = "orphan"
    DUPLICATE = "duplicate"
    PROVISIONAL = "provisional"


class Joined(NamedTuple):
    """What a feedback record is made of, once its slate's propensities are known.

    `event` is None for a provisional record; `ratio` and `outcomes` are those of the entry at that moment.
    """

    entry: Impression
    event: Event | None
    offset: int
    at_ms: int
    revision: int
    ratio: float
    outcomes: int
    late: bool


def find(open_impressions: Impressions, event: Event) -> Impression | None:
    """Return the open impression that an event belongs to."""
    if event.slate_id is None:
        return next((entry for entry in open_impressions if entry.event_id == event.event_id), None)
    for entry in reversed(open_impressions):
        if entry.position == event.position and entry.slate_id == event.slate_id and entry.video_id == event.video_id:
            return entry
    return None


def prune(open_impressions: Impressions, before_ms: int, keep: int) -> None:
    """Forget labelled impressions shown before `before_ms`, and the oldest beyond `keep`."""
    first = open_impressions[0]
    if len(open_impressions) > keep or first.shown_ms < before_ms:
        kept = [entry for entry in open_impressions if entry.shown_ms >= before_ms or not entry.revision]
        open_impressions[:] = kept[-keep:]


def show(open_impressions: Impressions, event: Event, now_ms: int, orphan: bool = False) -> Impression | None:
    """Open the impression of `event`; None when it is open already."""
    if find(open_impressions, event) is not None:
        return None
    in_slate = event.slate_id is not None
    entry = Impression(
        slate_id=event.slate_id or "",
        position=-1 if event.position is None else event.position,
        event_id="" if in_slate else event.event_id,
        video_id=event.video_id or "",
        shown_ms=now_ms,
        orphan=orphan,
    )
    open_impressions.append(entry)
    return entry


def outcome(
    open_impressions: Impressions, event: Event, offset: int, now_ms: int, duration_ms: int, window_ms: int
) -> tuple[Join, Joined | None]:
    """Join an outcome to its impression and return what to publish; None for a duplicate.

    Args:
      window_ms: an outcome after it is late, and corrects a provisional label.
    """
    entry = find(open_impressions, event)
    verdict = Join.JOINED
    if entry is None:
        alone = event.source is Source.SLATE and event.slate_id is not None
        verdict = Join.ORPHAN if alone else Join.JOINED
        entry = show(open_impressions, event, now_ms, orphan=alone)
    elif entry.outcomes & (1 << event.type.code):
        return Join.DUPLICATE, None
    elif now_ms - entry.shown_ms > window_ms:
        verdict = Join.LATE
    if entry is None:
        return Join.DUPLICATE, None
    entry.outcomes |= mask_of(event)
    entry.ratio = max(entry.ratio, watch_ratio(event, duration_ms))
    joined = Joined(
        entry, event, offset, event.event_time_ms, entry.revision, entry.ratio, entry.outcomes, verdict is Join.LATE
    )
    entry.revision += 1
    if event.slate_id is None:  # nothing further can name this exposure
        open_impressions.remove(entry)
    return verdict, joined


def close(open_impressions: Impressions, offset: int, due_ms: int) -> list[Joined]:
    """Return provisional records for impressions shown at or before `due_ms` that had no outcome."""
    found = []
    for entry in open_impressions:
        if not entry.revision and entry.shown_ms <= due_ms:
            found.append(Joined(entry, None, offset, due_ms, 0, 0.0, 0, False))
            entry.revision = 1
    return found


def feedback_of(joined: Joined, user_id: str, arm: str, inputs: list[float], profile: tuple[int, ...] = ()) -> Feedback:
    """Return the record of a join.

    Args:
      inputs: the behaviour input of the GRU step that the outcome made, as served.
      profile: keys of the user's profile, when it had made no step before.
    """
    entry, event = joined.entry, joined.event
    return Feedback(
        impression_id=entry.impression_id,
        user_id=user_id,
        video_id=entry.video_id,
        revision=joined.revision,
        offset=joined.offset,
        event_time_ms=joined.at_ms,
        impression_ms=entry.shown_ms,
        provisional=event is None,
        stepped=event is not None,
        orphan=entry.orphan,
        late=joined.late,
        outcome="" if event is None else event.type.value,
        watch_ratio=joined.ratio,
        label=label_of(joined.ratio, joined.outcomes),
        behaviour=inputs,
        slate_id=entry.slate_id,
        position=entry.position,
        propensity=CERTAIN if entry.propensity == CERTAIN else entry.propensity,
        model_version=entry.model_version,
        arm=arm,
        profile=profile or NO_PROFILE,
    )
