"""Events to numbers: the behaviour input of a GRU step, and the label of an impression.

One definition for the stream, the simulator, replay and training.
"""

from __future__ import annotations

from math import log1p

from streams.core.events import Event, EventType, Kind, Source

MAX_WATCH_RATIO = 5.0  # a looped video; beyond it playback says nothing more about taste
MAX_GAP_S = 30 * 86_400.0
_POSITIVE = (EventType.LIKE, EventType.SHARE, EventType.COMMENT, EventType.FOLLOW, EventType.PURCHASE)
_FLAGS = (*_POSITIVE, EventType.SKIP, EventType.HIDE, EventType.LIVE_ENTER)

#: Names of the behaviour features, in order.
FEATURES = (
    "watch_ratio", "completed", "log_dwell", "watch_known", "duration_known",
    *(f"is_{flag.value}" for flag in _FLAGS),
    "log_gap", "is_product", "is_live", "source_log",
)  # fmt: skip
BEHAVIOUR_SIZE = len(FEATURES)


def watch_ratio(event: Event, duration_ms: int) -> float:
    """Return playback over duration, unitless in [0, 5]; 0 when either is not known."""
    duration = event.duration_ms or duration_ms
    if not duration or event.watch_ms is None:
        return 0.0
    return min(event.watch_ms / duration, MAX_WATCH_RATIO)


def behaviour(event: Event, duration_ms: int, kind: Kind, gap_ms: int) -> tuple[float, ...]:
    """Return the behaviour input [F] of one event.

    Args:
      event: an outcome (`TASTE`).
      duration_ms: the video's duration; used when the event does not say, 0 when not known.
      kind: what the item is.
      gap_ms: time since the user's previous step; clipped to [0, 30 days].
    """
    ratio = watch_ratio(event, duration_ms)
    happened = {event.type, *event.actions}
    gap_s = min(max(gap_ms / 1000.0, 0.0), MAX_GAP_S)
    return (
        min(ratio, 2.0) / 2.0,
        float(ratio >= 0.95),
        log1p((event.watch_ms or 0) / 1000.0) / 5.0,
        float(event.watch_ms is not None),
        float(bool(event.duration_ms or duration_ms)),
        *(float(flag in happened) for flag in _FLAGS),
        log1p(gap_s) / 15.0,
        float(kind is Kind.PRODUCT),
        float(kind is Kind.LIVE),
        float(event.source is Source.LOG),
    )


def label(ratio: float, outcomes: frozenset[EventType] | set[EventType]) -> float:
    """Return the graded target in [0, 1]: half the reward `min(watch ratio, 1) + like`; hidden is 0.

    Shares, comments, follows and purchases count as likes, so a score is half the expected reward.
    """
    if EventType.HIDE in outcomes:
        return 0.0
    liked = any(flag in outcomes for flag in _POSITIVE)
    return (min(ratio, 1.0) + float(liked)) / 2.0
