"""The configuration of a step, and the columns that a batch is worked on in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import steps_of
from streams.core.eligibility import LIVE
from streams.core.events import BARE, TASTE, EventType
from streams.core.feedback import Impression, Joined
from streams.core.hashing import bucket, event_keys, key64
from streams.core.layout import StateShape
from streams.core.lifts import LiftConfig
from streams.core.plan import Plan, is_last
from streams.core.pool import FreshPool
from streams.core.ranking import Policy
from streams.core.state import UserStates, event_words
from streams.core.ties import TIES_MASK

_TASTE = np.array([kind in TASTE for kind in EventType])
_MARKS = np.array(
    [kind not in BARE | {EventType.PLAY, EventType.LIVE_ENTER} for kind in EventType]
)  # what counts as seen


@dataclass(frozen=True)
class StepConfig:
    """What a step needs to know; times in milliseconds."""

    policy: Policy
    shape: StateShape
    label_window_ms: int = 10_000
    correction_window_ms: int = 600_000
    pending_kept: int = 60
    ties_kept: int = 64  # followed authors, and friends, of a user
    lifts: LiftConfig = field(default_factory=LiftConfig)
    latest_only: bool = False
    topic_key: str = ""  # distinguishes slates of a topic that was deleted and made again
    arms: dict[str, str] = field(default_factory=dict)  # policies by arm: online, frozen, popular or random
    shares: tuple[tuple[str, float], ...] = ()  # of the users without suffix, by arm; the rest are online
    experiment: str = ""  # salt of the buckets that these shares are cut from
    user_limit: int = 0  # events of a user in a minute of the watermark, beyond it they are only counted; 0 for none

    def __post_init__(self) -> None:
        if self.policy.size > self.shape.positions:
            raise ValueError(f"states have room for {self.shape.positions} positions, slates have {self.policy.size}")

    def arm(self, user_id: str) -> str:
        """Return the arm of a user: what follows the last '@', when it is a configured arm, else that of its bucket."""
        if not self.arms:
            return "online"
        _, at, suffix = user_id.rpartition("@")
        if at and suffix in self.arms:
            return suffix
        place = bucket(user_id, self.experiment) if self.shares else 0.0
        for arm, share in self.shares:
            if place < share:
                return arm
            place -= share
        return "online"


class Columns:
    """Working columns of a batch, by event.

    Attributes:
      rows, slots, keys: int64 [N]: row of the user; slot (-1: not known) and key of the video (0: none).
      steps: of the events; `numbers` and `flags`, their stored form, are complete once their wave has passed.
      stepped, slated, replayed: bool [N].
      tying: bool [N], events that change whom the user follows or knows; None where none does.
      limited: places of events beyond their user's limit; they are in no wave.
      tells: bool [N], events that bring a profile; None where none does.
      profiles: by event, keys of users who had a profile and no step before it; empty where nobody has one.
      joined: what slow joins made, by event; closed: what closings made, before which event, and the user's profile
        where it had made no step.
      unranked: impressions of slates that events of this batch make.
    """

    def __init__(self, plan: Plan, states: UserStates, pool: FreshPool, config: StepConfig) -> None:
        self.plan = plan
        events = plan.events
        count = len(events)
        self.rows = states.rows(plan.users)
        self.slots = pool.slots([event.video_id for event in events])
        self.keys = np.where(self.slots >= 0, pool.keys[self.slots], 0)
        for place in np.flatnonzero(self.slots < 0).tolist():
            video_id = events[place].video_id
            self.keys[place] = 0 if video_id is None else key64(video_id)
        known = self.slots >= 0
        self.durations = np.where(known, pool.durations_ms[self.slots], 0)
        kinds = np.where(known, pool.kinds[self.slots], 0)
        self.steps = steps_of(events, self.durations, kinds)
        self.numbers, self.flags, codes = self.steps.numbers, self.steps.flags, self.steps.codes
        self.taste = _TASTE[codes] & (self.keys != 0)  # a follow may be of an author alone
        self.opens = codes == EventType.OPEN.code
        self.seen = _MARKS[codes] & (self.keys != 0)
        self.seen &= (kinds != LIVE) | (
            codes == EventType.HIDE.code
        )  # a room may be entered again, unless it is hidden
        self.times = np.fromiter([event.event_time_ms for event in events], np.int64, count)
        self.words = event_words(event_keys([event.event_id for event in events]))
        self.stepped = np.zeros(count, bool)
        self.slated = np.zeros(count, bool)
        self.replayed = plan.offsets <= states.table["last_offset"][self.rows]
        self.limited = np.zeros(0, np.int64)
        tying = (self.steps.masks & TIES_MASK) != 0
        self.tying = tying if tying.any() else None
        self.joined: dict[int, Joined] = {}
        self.closed: list[tuple[int, str, list[Joined], tuple[int, ...]]] = []
        tells = codes == EventType.PROFILE.code
        self.tells = tells if tells.any() else None
        self.profiles: dict[int, tuple[int, ...]] = {}
        self.unranked: list[tuple[Impression, int]] = []
        self.last = is_last(self.rows) if config.latest_only else np.ones(count, bool)
        self.arms = self._arms(config)
        self.slow = self._slow(states)

    def arm_names(self, places: list[int], config: StepConfig) -> list[str]:
        """Return the arms of the users of events."""
        if len(self.arms) == 1:
            return list(self.arms) * len(places)
        return [config.arm(self.plan.users[place]) for place in places]

    def _arms(self, config: StepConfig) -> dict[str, NDArray[np.bool_] | None]:
        """Return which events belong to each arm; None for all."""
        if not config.arms:
            return {"online": None}
        arms = [config.arm(user) for user in self.plan.users]
        names = list(dict.fromkeys(arms))
        if len(names) == 1:
            return {names[0]: None}
        return {name: np.array([arm == name for arm in arms], bool) for name in names}

    def _slow(self, states: UserStates) -> NDArray[np.bool_]:
        """Return which events need the join one by one: those of slates, and those of users with something open."""
        slow: NDArray[np.bool_] = self.steps.codes == EventType.IMPRESSION.code
        slow |= np.fromiter([event.slate_id is not None for event in self.plan.events], bool, len(slow))
        if self.plan.closings or slow.any():
            busy = np.concatenate([self.rows[slow], states.rows(list(self.plan.closings))])
            slow |= np.isin(self.rows, busy)
        return slow | states.has_open[self.rows]
