"""What a viewer sends: the events of one exposure, in the order in which a client would send them."""

from __future__ import annotations

from typing import NamedTuple

from producers.behaviour import Outcomes
from producers.feeds import Shown
from streams.core.events import Event, EventType, Kind


class Answer(NamedTuple):
    """What is still to be said about one exposure."""

    copy: int
    shown: Shown
    watch_ratio: float
    skipped: bool
    reactions: tuple[EventType, ...]
    together: bool
    late: bool
    kind: Kind = Kind.VIDEO


def reactions_of(outcomes: Outcomes, index: int, kind: Kind = Kind.VIDEO) -> tuple[EventType, ...]:
    """Return the reactions of one exposure, in a fixed order; only products are bought."""
    flags = (
        (outcomes.liked, EventType.LIKE),
        (outcomes.shared, EventType.SHARE),
        (outcomes.commented, EventType.COMMENT),
        (outcomes.followed, EventType.FOLLOW),
        (outcomes.hidden, EventType.HIDE),
        (outcomes.bought & (kind is Kind.PRODUCT), EventType.PURCHASE),
    )
    return tuple(reaction for flag, reaction in flags if flag[index])


class Writer:
    """Makes events with ids that no other run uses.

    Args:
      run: begins every event id.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._count = 0

    def open(self, user_id: str, now_ms: int) -> Event:
        """Return the beginning of a session."""
        return Event(event_id=self._next(), user_id=user_id, type=EventType.OPEN, event_time_ms=now_ms)

    def tie(self, user_id: str, kind: EventType, other_id: str, now_ms: int) -> Event:
        """Return that a viewer follows an author, or befriends another viewer."""
        return Event(event_id=self._next(), user_id=user_id, type=kind, event_time_ms=now_ms, other_id=other_id)

    def profile(self, user_id: str, words: tuple[str, ...], now_ms: int) -> Event:
        """Return what the viewer says of itself."""
        return Event(
            event_id=self._next(), user_id=user_id, type=EventType.PROFILE, event_time_ms=now_ms, profile=words
        )

    def impression(self, user_id: str, shown: Shown, video_id: str, now_ms: int) -> Event:
        """Return that a video is on screen."""
        return Event(
            event_id=self._next(),
            user_id=user_id,
            type=EventType.IMPRESSION,
            event_time_ms=now_ms,
            video_id=video_id,
            slate_id=shown.slate_id,
            position=shown.position,
        )

    def outcome(self, user_id: str, answer: Answer, video_id: str, duration_ms: int, now_ms: int) -> list[Event]:
        """Return what the viewer did: a watch, a visit or a skip, and its reactions within it or after it."""
        shown, is_room = answer.shown, answer.kind is Kind.LIVE
        held = EventType.LIVE_ENTER if is_room else EventType.WATCH
        first = Event(
            event_id=self._next(),
            user_id=user_id,
            type=EventType.SKIP if answer.skipped else held,
            event_time_ms=now_ms,
            video_id=video_id,
            watch_ms=round(answer.watch_ratio * duration_ms),
            duration_ms=None if is_room else duration_ms,
            actions=answer.reactions if answer.together else (),
            slate_id=shown.slate_id,
            position=shown.position,
        )
        after = () if answer.together else answer.reactions
        return [first, *(self._reaction(user_id, kind, shown, video_id, now_ms) for kind in after)]

    def _reaction(self, user_id: str, kind: EventType, shown: Shown, video_id: str, now_ms: int) -> Event:
        return Event(
            event_id=self._next(),
            user_id=user_id,
            type=kind,
            event_time_ms=now_ms,
            video_id=video_id,
            slate_id=shown.slate_id,
            position=shown.position,
        )

    def _next(self) -> str:
        self._count += 1
        return f"{self._run}-{self._count}"
