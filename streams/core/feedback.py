"""Impressions joined with their outcomes: late is told from never, and nothing becomes a silent negative.

An impression opens an entry in its user's state. Each outcome publishes a record at once, with a rising revision. When
the window closes without one, a provisional record is published, and a later outcome corrects it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from streams.core.behaviour import label, watch_ratio
from streams.core.events import Event, EventType, Feedback, Source


class Impression(msgspec.Struct, array_like=True):
    """One slate position shown to a user, while outcomes may still come."""

    impression_id: str
    video_id: str
    shown_ms: int
    propensity: float
    model_version: int
    ratio: float = 0.0
    outcomes: list[str] = []
    revision: int = 0  # of the next record
    orphan: bool = False
    slate_id: str = ""
    position: int = -1


class SlateMemory(msgspec.Struct, array_like=True):
    """What a later impression must know of a slate: who scored it and which positions were explored."""

    offset: int
    model_version: int
    exploration: float
    explored: list[tuple[int, float]]  # position and propensity

    def propensity(self, position: int) -> float:
        """Return the probability with which the policy filled `position` as it did."""
        for explored, chance in self.explored:
            if explored == position:
                return chance
        return 1.0 - self.exploration


class Join(StrEnum):
    """What became of an event in the join; counted."""

    OPENED = "opened"
    JOINED = "joined"
    LATE = "late"
    ORPHAN = "orphan"
    DUPLICATE = "duplicate"
    PROVISIONAL = "provisional"


class Pending(msgspec.Struct, array_like=True):
    """Open impressions of one user, oldest first, and the user's last slates."""

    impressions: list[Impression] = []
    slates: list[SlateMemory] = []

    def find(self, impression_id: str) -> Impression | None:
        """Return the open impression with that id."""
        for entry in reversed(self.impressions):
            if entry.impression_id == impression_id:
                return entry
        return None

    def remember(self, slate: SlateMemory, keep: int = 8) -> None:
        """Keep a slate's exploration and version for the impressions to come."""
        self.slates.append(slate)
        del self.slates[:-keep]

    def slate(self, slate_id: str) -> SlateMemory | None:
        """Return the remembered slate with that id."""
        offset = slate_id.rpartition("-")[2]
        return next((kept for kept in reversed(self.slates) if str(kept.offset) == offset), None)

    def prune(self, before_ms: int, keep: int) -> None:
        """Forget impressions shown before `before_ms`, and the oldest beyond `keep`; all of them have a label."""
        if not self.impressions:
            return
        kept = [entry for entry in self.impressions if entry.shown_ms >= before_ms or not entry.revision]
        self.impressions = kept[-keep:]


def impression_id_of(event: Event) -> str:
    """Return the id that joins an event to its impression: slate, position and video, or the event's own id."""
    if event.slate_id is None:
        return event.event_id
    return f"{event.slate_id}/{event.position}/{event.video_id}"


def show(pending: Pending, event: Event, now_ms: int, orphan: bool = False) -> Impression | None:
    """Open the impression of `event`; None when it is open already."""
    identity = impression_id_of(event)
    if pending.find(identity) is not None:
        return None
    slate = pending.slate(event.slate_id) if event.slate_id else None
    entry = Impression(
        impression_id=identity,
        video_id=event.video_id or "",
        shown_ms=now_ms,
        propensity=slate.propensity(event.position or 0) if slate else 1.0,
        model_version=slate.model_version if slate else -1,
        orphan=orphan,
        slate_id=event.slate_id or "",
        position=-1 if event.position is None else event.position,
    )
    pending.impressions.append(entry)
    return entry


def outcome(
    pending: Pending,
    event: Event,
    offset: int,
    now_ms: int,
    duration_ms: int,
    window_ms: int,
    inputs: tuple[float, ...],
    arm: str,
) -> tuple[Join, Feedback | None]:
    """Join an outcome to its impression and return what to publish; None for a duplicate.

    Args:
      inputs: the behaviour input of the GRU step that this outcome makes, as served.
      window_ms: an outcome after it is late, and corrects a provisional label.
    """
    entry = pending.find(impression_id_of(event))
    verdict = Join.JOINED
    if entry is None:
        alone = event.source is Source.SLATE and event.slate_id is not None
        verdict = Join.ORPHAN if alone else Join.JOINED
        entry = show(pending, event, now_ms, orphan=alone)
    elif event.type.value in entry.outcomes:
        return Join.DUPLICATE, None
    elif now_ms - entry.shown_ms > window_ms:
        verdict = Join.LATE
    if entry is None:
        return Join.DUPLICATE, None
    entry.outcomes = [*entry.outcomes, event.type.value, *(action.value for action in event.actions)]
    entry.ratio = max(entry.ratio, watch_ratio(event, duration_ms))
    record = _record(entry, event, offset, inputs, arm, verdict)
    entry.revision += 1
    if event.slate_id is None:  # nothing further can name this exposure
        pending.impressions.remove(entry)
    return verdict, record


def close(pending: Pending, user_id: str, offset: int, due_ms: int, arm: str) -> list[Feedback]:
    """Return provisional records for impressions shown at or before `due_ms` that had no outcome."""
    records = []
    for entry in pending.impressions:
        if entry.revision == 0 and entry.shown_ms <= due_ms:
            records.append(
                Feedback(
                    impression_id=entry.impression_id, user_id=user_id, video_id=entry.video_id, revision=0,
                    offset=offset, event_time_ms=due_ms, impression_ms=entry.shown_ms, provisional=True, stepped=False,
                    orphan=entry.orphan, propensity=entry.propensity, model_version=entry.model_version, arm=arm,
                    slate_id=entry.slate_id, position=entry.position,
                )
            )  # fmt: skip
            entry.revision = 1
    return records


def _record(
    entry: Impression, event: Event, offset: int, inputs: tuple[float, ...], arm: str, verdict: Join
) -> Feedback:
    return Feedback(
        impression_id=entry.impression_id,
        user_id=event.user_id,
        video_id=entry.video_id,
        revision=entry.revision,
        offset=offset,
        event_time_ms=event.event_time_ms,
        impression_ms=entry.shown_ms,
        orphan=entry.orphan,
        late=verdict is Join.LATE,
        outcome=event.type.value,
        watch_ratio=entry.ratio,
        label=label(entry.ratio, {EventType(name) for name in entry.outcomes}),
        behaviour=inputs,
        slate_id=entry.slate_id,
        position=entry.position,
        propensity=entry.propensity,
        model_version=entry.model_version,
        arm=arm,
    )
