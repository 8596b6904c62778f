"""Records of a batch made of its columns: nothing is built per event but what is written.

`SlateRecords` and `FeedbackRecords` are sequences of `Slate` and `Feedback` for whoever looks at them; what goes to
Kafka is `pairs()`, keys and encoded values, for which the numbers are laid out as MessagePack by the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import BEHAVIOUR_SIZE, Steps, expand, labels_of
from streams.core.events import CERTAIN, NO_PROFILE, EventType, Feedback, Record, Slate
from streams.core.plan import Plan
from streams.core.pool import FreshPool
from streams.core.ports import Floats
from streams.core.ranking import Ranked
from streams.core.slates import Order

Ints = NDArray[np.int64]
Pairs = list[tuple[bytes, bytes]]
_NAMES = [kind.value for kind in EventType]
_encode = msgspec.msgpack.Encoder().encode
_FLOAT = np.dtype([("tag", "u1"), ("value", ">f4")])  # a MessagePack float 32
_TAG, _ARRAY = 0xCA, 0xDC


class _Written(Record, frozen=True, gc=False):
    """A record as it is written; its numbers are encoded already."""


class _WrittenSlate(_Written, frozen=True, gc=False):
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
    video_ids: list[str]
    scores: msgspec.Raw
    explored: list[int]
    explored_propensity: msgspec.Raw
    propensity: msgspec.Raw
    arm: str = "online"


class _WrittenFeedback(_Written, frozen=True, gc=False):
    impression_id: str
    user_id: str
    video_id: str
    revision: int
    offset: int
    event_time_ms: int
    impression_ms: int
    outcome: str
    watch_ratio: float
    label: float
    behaviour: msgspec.Raw
    arm: str = "online"
    profile: tuple[int, ...] = NO_PROFILE


def _as_written(record: Feedback) -> Feedback | _WrittenFeedback:
    """Return a record joined one by one in the form it has when it is complete in itself, where it is.

    Which way an outcome without a slate goes depends on its batch; a batch that is cut otherwise after a kill must
    publish the same bytes again.
    """
    if record.slate_id or record.orphan or record.provisional or record.late or not record.stepped:
        return record
    (behaviour,) = packed_floats(np.array([record.behaviour], np.float32), [len(record.behaviour)])
    return _WrittenFeedback(
        impression_id=record.impression_id, user_id=record.user_id, video_id=record.video_id,
        revision=record.revision, offset=record.offset, event_time_ms=record.event_time_ms,
        impression_ms=record.impression_ms, outcome=record.outcome, watch_ratio=record.watch_ratio,
        label=record.label, behaviour=behaviour, arm=record.arm, profile=record.profile,
    )  # fmt: skip


def packed_floats(rows: NDArray[Any], counts: Sequence[int]) -> list[msgspec.Raw]:
    """Return the first `counts` of each row [B, K] as MessagePack arrays of 32-bit floats."""
    width = rows.shape[1]
    laid = np.empty((len(rows), 3 + 5 * width), np.uint8)
    laid[:, 0] = _ARRAY
    laid[:, 1:3] = np.array(counts, ">u2").view(np.uint8).reshape(len(rows), 2)
    cells = np.empty(rows.shape, _FLOAT)
    cells["tag"], cells["value"] = _TAG, rows
    laid[:, 3:] = cells.view(np.uint8)
    data, size = laid.tobytes(), laid.shape[1]
    return [
        msgspec.Raw(data[start : start + 3 + 5 * count])
        for start, count in zip(range(0, len(data), size), counts, strict=True)
    ]


def _packed_each(values: NDArray[Any]) -> list[msgspec.Raw]:
    """Return values [B] as MessagePack 32-bit floats."""
    cells = np.empty(len(values), _FLOAT)
    cells["tag"], cells["value"] = _TAG, values
    data = cells.tobytes()
    return [msgspec.Raw(data[start : start + 5]) for start in range(0, len(data), 5)]


@dataclass(frozen=True)
class SlateRecords(Sequence[Slate]):
    """Slates of a batch.

    Attributes:
      places: int64 [B], the events of the plan that made them.
      name: begins their ids.
      arms, versions, trained: [B], whose slate it is, the model version that made it and what that had learned from.
      rest: propensity of positions that are not explored.
      scores: float32 [B, K].
    """

    plan: Plan
    places: Ints
    ranked: Ranked
    name: str
    arms: list[str]
    versions: list[int]
    trained: list[int]
    rest: float
    ids: list[list[str]]
    scores: Floats
    explored: list[list[int]]
    ages: tuple[list[int], list[int], list[int]]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, row: int) -> Slate: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[Slate]: ...

    def __getitem__(self, row: int | slice) -> Slate | Sequence[Slate]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        place = int(self.places[row])
        event, offset = self.plan.events[place], int(self.plan.offsets[place])
        youngest, oldest, candidates = (column[row] for column in self.ages)
        return Slate(
            slate_id=f"{self.name}{offset}", user_id=event.user_id, event_id=event.event_id,
            event_time_ms=event.event_time_ms, made_ms=int(self.plan.now_ms[place]), state_offset=offset,
            model_version=self.versions[row], trained_through=self.trained[row], youngest_ms=youngest, oldest_ms=oldest,
            candidates=candidates, video_ids=self.ids[row], scores=self.scores[row, : len(self.ids[row])].tolist(),
            explored=self.explored[row], explored_propensity=float(self.ranked.chance[row]), propensity=self.rest,
            arm=self.arms[row],
        )  # fmt: skip

    def of(self, event_ids: Collection[str]) -> Iterator[Slate]:
        """Yield the slates that these events triggered."""
        events = self.plan.events
        for row, place in enumerate(self.places.tolist()):
            if events[place].event_id in event_ids:
                yield self[row]

    def pairs(self) -> Pairs:
        """Return keys and values to be published."""
        plan, places, name = self.plan, self.places, self.name
        events = plan.events
        (rest,) = _packed_each(np.array([self.rest]))
        return [
            (user.encode(), _encode(_WrittenSlate(  # by position: names would cost as much as the encoding
                f"{name}{offset}", user, event.event_id, event.event_time_ms, now, offset, version, trained, young, old,
                fresh, ids, scores, positions, chance, rest, arm,
            )))
            for event, user, offset, now, version, trained, arm, young, old, fresh, ids, scores, positions, chance
            in zip(
                [events[place] for place in places.tolist()], [plan.users[place] for place in places.tolist()],
                plan.offsets[places].tolist(), plan.now_ms[places].tolist(), self.versions, self.trained, self.arms,
                *self.ages, self.ids,
                packed_floats(self.scores, [len(ids) for ids in self.ids]), self.explored,
                _packed_each(self.ranked.chance), strict=True,
            )
        ]  # fmt: skip


def slate_records(
    plan: Plan, orders: Sequence[Order], ranked: Ranked, name: str, rest: float, pool: FreshPool
) -> SlateRecords:
    """Return the slates of all orders, as `rank_slates` made them; `name` begins their ids."""
    places = np.concatenate([order.places for order in orders])
    ids = pool.ids[ranked.slots].tolist()
    size = ranked.slots.shape[1]
    for row in np.flatnonzero(ranked.count < size).tolist():
        ids[row] = ids[row][: int(ranked.count[row])]
    one = np.float32(1.0)
    scores = one / (one + np.exp(np.minimum(-ranked.logits, np.float32(80.0))))
    youngest, oldest, fresh = pool.ages(plan.now_ms[places])
    return SlateRecords(
        plan, places, ranked, name,
        [order.arm for order in orders for _ in order.places],
        [order.scorer.version for order in orders for _ in order.places],
        [order.scorer.trained_through for order in orders for _ in order.places],
        rest, ids, scores, _explored(ranked), (youngest.tolist(), oldest.tolist(), fresh.tolist()),
    )  # fmt: skip


def _explored(ranked: Ranked) -> list[list[int]]:
    """Return explored positions by row."""
    rows, positions = np.nonzero(ranked.explored)
    ends = np.cumsum(np.bincount(rows, minlength=len(ranked.count))).tolist()
    flat = positions.tolist()
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class FeedbackRecords(Sequence[Feedback]):
    """Feedback of a batch: outcomes that are complete in themselves, and what was joined one by one.

    Args:
      steps: of all events of the plan.
      places: int64 [M], events whose outcome is complete in itself, ascending; `arms` [M], of their users.
      joined: other records, by the event that they belong behind; those of closings with their rank before it.
      profiles: of users who had made no step before it, by event.
    """

    def __init__(
        self,
        plan: Plan,
        steps: Steps,
        places: Ints,
        joined: list[tuple[int, int, Feedback]],
        arms: list[str],
        profiles: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        self._plan, self._arms, self._profiles = plan, arms, profiles or {}
        self._places: list[int] = places.tolist()
        self._labels: list[float] = labels_of(steps.ratios[places], steps.masks[places]).tolist()
        self._ratios: list[float] = steps.ratios[places].tolist()
        self._names = [_NAMES[code] for code in steps.codes[places].tolist()]
        self._inputs: Floats = expand(steps.numbers[places], steps.flags[places])
        order: list[tuple[int, int, int]] = [(place, 2, row) for row, place in enumerate(self._places)]
        order += [(place, rank, ~row) for row, (place, rank, _) in enumerate(joined)]
        self._joined = [record for _, _, record in joined]
        self._order = [at for _, _, at in (sorted(order, key=lambda one: one[:2]) if joined else order)]

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, row: int) -> Feedback: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[Feedback]: ...

    def __getitem__(self, row: int | slice) -> Feedback | Sequence[Feedback]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        at = self._order[row]
        if at < 0:
            return self._joined[~at]
        return self._complete(at)

    def _complete(self, at: int) -> Feedback:
        place = self._places[at]
        event = self._plan.events[place]
        return Feedback(
            impression_id=event.event_id, user_id=event.user_id, video_id=event.video_id or "", revision=0,
            offset=int(self._plan.offsets[place]), event_time_ms=event.event_time_ms,
            impression_ms=int(self._plan.now_ms[place]), outcome=self._names[at], watch_ratio=self._ratios[at],
            label=self._labels[at], behaviour=self._inputs[at].tolist(), propensity=CERTAIN,
            arm=self._arms[at], profile=self._profiles.get(place, NO_PROFILE),
        )  # fmt: skip

    def __iter__(self) -> Iterator[Feedback]:
        return (self[row] for row in range(len(self)))

    def pairs(self) -> Pairs:
        """Return keys and values to be published."""
        plan, places = self._plan, self._places
        offsets, now = plan.offsets[places].tolist(), plan.now_ms[places].tolist()
        complete = [
            (user.encode(), _encode(_WrittenFeedback(
                event.event_id, user, event.video_id, 0, offset, event.event_time_ms, at, name, ratio, graded,
                behaviour, arm,
            )))
            for event, user, offset, at, name, ratio, graded, behaviour, arm in zip(
                [plan.events[place] for place in places], [plan.users[place] for place in places], offsets, now,
                self._names, self._ratios, self._labels,
                packed_floats(self._inputs, [BEHAVIOUR_SIZE] * len(places)), self._arms, strict=True,
            )
        ]  # fmt: skip
        if self._profiles:
            for row, place in enumerate(places):
                if place in self._profiles:
                    complete[row] = complete[row][0], _encode(_as_written(self._complete(row)))
        if not self._joined:
            return complete
        joined = [(record.user_id.encode(), _encode(_as_written(record))) for record in self._joined]
        return [joined[~at] if at < 0 else complete[at] for at in self._order]

    def rewards(self) -> dict[str, tuple[int, float]]:
        """Return by arm how many impressions were labelled first here, and the sum of these labels."""
        labels: dict[str, list[float]] = {}
        if len(set(self._arms)) == 1:
            labels[self._arms[0]] = list(self._labels)
        else:
            for arm, graded in zip(self._arms, self._labels, strict=True):
                labels.setdefault(arm, []).append(graded)
        for record in self._joined:
            if not record.revision:
                labels.setdefault(record.arm, []).append(record.label)
        return {arm: (len(found), sum(found)) for arm, found in labels.items()}
