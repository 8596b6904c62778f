"""Records of a batch made of its columns: one pass each, with as little as possible done per event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import expand, labels_of
from streams.core.events import EventType, Feedback, Slate
from streams.core.plan import Plan
from streams.core.pool import FreshPool
from streams.core.ports import Floats, Scorer
from streams.core.ranking import Ranked

Ints = NDArray[np.int64]
_NAMES = [kind.value for kind in EventType]


def slate_records(
    plan: Plan, places: Ints, ranked: Ranked, name: str, arm: str, rest: float, pool: FreshPool, scorer: Scorer
) -> list[Slate]:
    """Return the slates of the events at `places`; `name` begins their ids."""
    videos = pool.ids[ranked.slots].tolist()
    with np.errstate(over="ignore"):
        scores = np.round(1.0 / (1.0 + np.exp(-ranked.logits.astype(np.float64))), 6).tolist()
    size = ranked.slots.shape[1]
    for row in np.flatnonzero(ranked.count < size).tolist():
        count = int(ranked.count[row])
        videos[row], scores[row] = videos[row][:count], scores[row][:count]
    explored = _explored(ranked)
    youngest, oldest, candidates = _ages(pool, plan.now_ms[places])
    events, users, version, trained = plan.events, plan.users, scorer.version, scorer.trained_through
    return [
        Slate(
            slate_id=f"{name}{offset}", user_id=users[place], event_id=events[place].event_id,
            event_time_ms=events[place].event_time_ms, made_ms=now, state_offset=offset, model_version=version,
            trained_through=trained, youngest_ms=young, oldest_ms=old, candidates=fresh, video_ids=ids, scores=points,
            explored=positions, explored_propensity=chance, propensity=rest, arm=arm,
        )
        for place, offset, now, young, old, fresh, ids, points, positions, chance in zip(
            places.tolist(), plan.offsets[places].tolist(), plan.now_ms[places].tolist(), youngest, oldest, candidates,
            videos, scores, explored, ranked.chance.tolist(), strict=True,
        )
    ]  # fmt: skip


def _explored(ranked: Ranked) -> list[list[int]]:
    """Return explored positions by row."""
    rows, positions = np.nonzero(ranked.explored)
    ends = np.cumsum(np.bincount(rows, minlength=len(ranked.count))).tolist()
    flat = positions.tolist()
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _ages(pool: FreshPool, now_ms: Ints) -> tuple[list[int], list[int], list[int]]:
    """Return publication times of the youngest and oldest candidate, and how many there are, at each moment [B]."""
    moments, which = np.unique(now_ms, return_inverse=True)
    found: dict[bytes, tuple[int, int, int]] = {}
    rows = []
    published = pool.published_ms[: pool.size]
    for moment in moments.tolist():
        fresh = pool.fresh(moment)
        key = fresh.tobytes()
        if key not in found:
            some = published[fresh]
            youngest = int(some.max(initial=0))
            found[key] = youngest, int(some.min()) if len(some) else -1, len(some)
        youngest, oldest, count = found[key]
        rows.append((youngest, moment if oldest < 0 else min(oldest, moment), count))
    table = np.array(rows, np.int64).reshape(-1, 3)[which]
    return table[:, 0].tolist(), table[:, 1].tolist(), table[:, 2].tolist()


class Stepped(Protocol):
    """What feedback of a batch is made of; see `streams.core.step`."""

    plan: Plan
    numbers: NDArray[np.float16]
    flags: NDArray[np.uint16]
    ratios: NDArray[np.float64]
    masks: Ints
    codes: Ints


def feedback_records(batch: Stepped, places: Ints, arm: Callable[[str], str]) -> list[Feedback]:
    """Return the records of outcomes that are complete in themselves: no slate, nothing open."""
    plan = batch.plan
    inputs: Floats = expand(batch.numbers[places], batch.flags[places])
    labels = labels_of(batch.ratios[places], batch.masks[places]).tolist()
    events, users = plan.events, plan.users
    return [
        Feedback(
            impression_id=events[place].event_id, user_id=users[place], video_id=events[place].video_id or "",
            revision=0, offset=offset, event_time_ms=events[place].event_time_ms, impression_ms=now,
            outcome=_NAMES[code], watch_ratio=ratio, label=graded, behaviour=behaviour, arm=arm(users[place]),
        )
        for place, offset, now, code, ratio, graded, behaviour in zip(
            places.tolist(), plan.offsets[places].tolist(), plan.now_ms[places].tolist(), batch.codes[places].tolist(),
            batch.ratios[places].tolist(), labels, inputs.tolist(), strict=True,
        )
    ]  # fmt: skip
