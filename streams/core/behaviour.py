"""Events to numbers: the behaviour input of a GRU step, and the label of an impression.

One definition for the stream, the simulator, replay and training, computed for a batch at once. A step is kept as
three float16 and a word of flags (`Steps`), and `expand` makes the model's input of it, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.core.events import Event, EventType, Kind, Source
from streams.core.ports import Floats

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
_NUMBERS = ("watch_ratio", "log_dwell", "log_gap")
_NUMBER_AT = [FEATURES.index(name) for name in _NUMBERS]
_FLAG_AT = [place for place, name in enumerate(FEATURES) if name not in _NUMBERS]
_FLAG_BIT = {FEATURES[place]: bit for bit, place in enumerate(_FLAG_AT)}
_SHIFTS = np.arange(len(_FLAG_AT), dtype=np.uint16)
NUMBERS = len(_NUMBERS)
_MASKS = np.arange(1 << (1 + max(flag.code for flag in _FLAGS)))  # of the types that flags tell of
_FLAGS_OF_MASK = np.bitwise_or.reduce(
    [((_MASKS >> flag.code & 1) << _FLAG_BIT[f"is_{flag.value}"]).astype(np.uint16) for flag in _FLAGS]
)

HIDE_MASK = 1 << EventType.HIDE.code
LIKED = frozenset(flag.value for flag in _POSITIVE)  # outcomes that count as likes
BOUGHT_MASK = 1 << EventType.PURCHASE.code
ENTERED_MASK = 1 << EventType.LIVE_ENTER.code
LIKED_MASK = sum(1 << flag.code for flag in _POSITIVE)


@dataclass
class Steps:
    """GRU inputs of a batch in the precision of the stored state.

    Attributes:
      numbers: float16 [B, 3]: watch ratio, log dwell, log gap; the last is 0 until `set_gaps`.
      flags: uint16 [B], the other features as bits.
      ratios: float64 [B], watch ratios in [0, 5] before rounding.
      masks: int64 [B], what happened, a bit for each `EventType.code`.
      codes: int64 [B], of the events' own types.
    """

    numbers: NDArray[np.float16]
    flags: NDArray[np.uint16]
    ratios: NDArray[np.float64]
    masks: NDArray[np.int64]
    codes: NDArray[np.int64]


def steps_of(events: list[Event], durations: NDArray[np.int64], kinds: NDArray[np.int64]) -> Steps:
    """Return the steps of events [B], whatever their type.

    Args:
      durations: [B] of the videos, ms; used when the event does not say, 0 when not known.
      kinds: [B] place of the item's `Kind` in that enumeration.
    """
    count = len(events)
    watched = np.array([-1 if event.watch_ms is None else event.watch_ms for event in events], np.int64)
    stated = np.array([event.duration_ms or 0 for event in events], np.int64)
    codes = np.fromiter([event.type.code for event in events], np.int64, count)
    masks = np.left_shift(1, codes)
    for place, event in enumerate(events):
        if event.actions:
            masks[place] |= _mask_of(event.actions)
    from_log = np.fromiter([event.source is Source.LOG for event in events], bool, count)
    duration = np.where(stated > 0, stated, durations)
    known, timed = watched >= 0, duration > 0
    ratios = np.where(known & timed, np.minimum(watched / np.maximum(duration, 1), MAX_WATCH_RATIO), 0.0)
    numbers = np.zeros((count, NUMBERS), np.float16)
    numbers[:, 0] = np.minimum(ratios, 2.0) / 2.0
    numbers[:, 1] = np.log1p(np.maximum(watched, 0) / 1000.0) / 5.0
    named = {
        "completed": ratios >= 0.95, "watch_known": known, "duration_known": timed, "source_log": from_log,
        "is_product": kinds == _PRODUCT, "is_live": kinds == _LIVE,
    }  # fmt: skip
    flags = _FLAGS_OF_MASK[masks & (len(_MASKS) - 1)]
    for name, values in named.items():
        flags |= values.astype(np.uint16) << np.uint16(_FLAG_BIT[name])
    return Steps(numbers, flags, ratios, masks, codes)


_KINDS = list(Kind)
_PRODUCT, _LIVE = _KINDS.index(Kind.PRODUCT), _KINDS.index(Kind.LIVE)


def _mask_of(types: Iterable[EventType]) -> int:
    mask = 0
    for kind in types:
        mask |= 1 << kind.code
    return mask


def mask_of(event: Event) -> int:
    """Return what an event says happened, a bit for each `EventType.code`."""
    return _mask_of((event.type, *event.actions))


def log_gaps(gaps_ms: NDArray[np.int64]) -> NDArray[np.float16]:
    """Return the feature of times since the user's previous step [B], clipped to [0, 30 days]."""
    gaps: NDArray[np.float16] = (np.log1p(np.clip(gaps_ms / 1000.0, 0.0, MAX_GAP_S)) / 15.0).astype(np.float16)
    return gaps


def expand(numbers: NDArray[np.float16], flags: NDArray[np.uint16]) -> Floats:
    """Return behaviour inputs [..., F] of stored steps: numbers [..., 3] and flags [...]."""
    inputs = np.empty((*flags.shape, BEHAVIOUR_SIZE), np.float32)
    inputs[..., _NUMBER_AT] = numbers
    inputs[..., _FLAG_AT] = (flags[..., None] >> _SHIFTS) & np.uint16(1)
    return inputs


def watch_ratio(event: Event, duration_ms: int) -> float:
    """Return playback over duration, unitless in [0, 5]; 0 when either is not known."""
    duration = event.duration_ms or duration_ms
    if not duration or event.watch_ms is None:
        return 0.0
    return min(event.watch_ms / duration, MAX_WATCH_RATIO)


def behaviour(event: Event, duration_ms: int, kind: Kind, gap_ms: int) -> tuple[float, ...]:
    """Return the behaviour input [F] of one event, in the precision of the stored state.

    Args:
      event: an outcome (`TASTE`).
      duration_ms: the video's duration; used when the event does not say, 0 when not known.
      kind: what the item is.
      gap_ms: time since the user's previous step; clipped to [0, 30 days].
    """
    steps = steps_of([event], np.array([duration_ms]), np.array([_KINDS.index(kind)]))
    steps.numbers[:, 2] = log_gaps(np.array([gap_ms]))
    return tuple(expand(steps.numbers, steps.flags)[0].tolist())


def label(ratio: float, outcomes: Iterable[EventType]) -> float:
    """Return the graded target in [0, 1]: half the reward `min(watch ratio, 1) + like`; hidden is 0, bought is 1.

    Shares, comments and follows count as likes, so a score is half the expected reward. A room has no length: to enter
    it counts as a whole watch.
    """
    return label_of(ratio, _mask_of(outcomes))


def label_of(ratio: float, mask: int) -> float:
    """Return `label` of outcomes given as a mask of `EventType.code`."""
    if mask & (HIDE_MASK | BOUGHT_MASK):
        return float(not mask & HIDE_MASK)
    watched = 1.0 if mask & ENTERED_MASK else min(ratio, 1.0)
    return (watched + float(bool(mask & LIKED_MASK))) / 2.0


def labels_of(ratios: NDArray[np.float64], masks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return labels [B] of watch ratios [B] and outcome masks [B]."""
    watched = np.where((masks & ENTERED_MASK) != 0, 1.0, np.minimum(ratios, 1.0))
    graded = (watched + ((masks & LIKED_MASK) != 0)) / 2.0
    graded[(masks & BOUGHT_MASK) != 0] = 1.0
    return np.where((masks & HIDE_MASK) != 0, 0.0, graded)
