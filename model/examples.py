"""What the trainer remembers of `feedback`: sequences of steps by user, and labelled examples.

An impression is one example, whatever becomes of its label: a later revision corrects it. Its context is what the
hidden state knew when the slate was made: the user's steps up to the offset in the slate's id. All of it is bounded:
users (least recently heard of first), steps per user, and examples (oldest first).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.catalogue import Catalogue
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Feedback
from streams.core.hashing import key64

Ints = NDArray[np.int64]

RESERVED_ONE_IN = 25  # impressions, by their key, that no version is ever trained on; they anchor the gate
EXPLORED_BELOW = 0.5  # a slot's propensity when it was filled at random; chosen ones have 1 - exploration


@dataclass(frozen=True)
class Limits:
    """Bounds of the store, and how much a kind of example counts.

    Attributes:
      users, steps, examples: users known, newest steps of each, newest examples of all.
      videos: videos known; beyond it those go that are neither referred to nor among the newest half.
      provisional, explored: weights of an example without outcome, and of an explored slot, against 1.
      profile_users: users who must have a word in their profile before anything is learned of it.
    """

    users: int = 20_000
    steps: int = 64
    examples: int = 200_000
    videos: int = 200_000
    provisional: float = 0.5
    explored: float = 1.0
    profile_users: int = 10

    @classmethod
    def remembering(cls, window: int) -> Limits:
        """Return bounds with which windows of so many steps stay whole when a user's oldest steps are dropped."""
        return cls(steps=max(cls.steps, -(-3 * window // 2)))


class Examples:
    """Sequences and examples in columns.

    Attributes:
      step_offset: int64 [R, S], ascending per row up to `step_count` [R].
      step_video: int64 [R, S], catalogue indices.
      step_behaviour: float16 [R, S, F], to the bit what the stream used.
      user, video, context, label, weight, arrival: columns [C] of examples by slot. `context` is the last offset that
        the hidden state had seen; `arrival` the running number of the record that opened the example, 0 for one that
        is not new, -1 for a free slot.
      trained: bool [C]; a version has learned from the example, though perhaps with an earlier label.
      reserved: bool [C]; no version is ever trained on it. `trained` tells then that a version was accepted that
        learned from its neighbours.
      fresh: slots whose present label no version has learned from, as the keys of a dict, in order of arrival.
      profiles: keys of their profile by row, of users whose steps are known from the first one on.
      records, duplicates: records taken in, duplicates included, and the duplicates among them.
    """

    def __init__(self, catalogue: Catalogue, limits: Limits) -> None:
        self.catalogue, self.limits = catalogue, limits
        self.records = 0
        self.duplicates = 0
        self._rows: OrderedDict[str, int] = OrderedDict()
        self.profiles: dict[int, tuple[int, ...]] = {}
        self._profile_users: Counter[int] = Counter()
        self._free_rows: list[int] = []
        self.step_count = np.zeros(0, np.int64)
        self.forgotten = np.zeros(0, np.int64)  # [R] offset up to which steps were dropped, -1 for none
        self.life = np.zeros(0, np.int64)  # [R] rises when a row passes to another user
        self.step_offset = np.zeros((0, limits.steps), np.int64)
        self.step_video = np.zeros((0, limits.steps), np.int64)
        self.step_behaviour = np.zeros((0, limits.steps, BEHAVIOUR_SIZE), np.float16)
        size = limits.examples
        self._slot_of: dict[int, int] = {}
        self._next = 0
        self._impression = np.zeros(size, np.int64)
        self._revision = np.full(size, -1, np.int64)
        self._life = np.zeros(size, np.int64)
        self.user = np.zeros(size, np.int64)
        self.video = np.zeros(size, np.int64)
        self.context = np.zeros(size, np.int64)
        self.label = np.zeros(size, np.float32)
        self.weight = np.zeros(size, np.float32)
        self.arrival = np.full(size, -1, np.int64)
        self.trained = np.zeros(size, np.bool_)
        self.reserved = np.zeros(size, np.bool_)
        self.fresh: dict[int, None] = {}

    def add(self, record: Feedback, new: bool = True) -> bool:
        """Take in a record; return False for a duplicate.

        Args:
          new: whether the example waits for training; False when a published version has learned from it.
        """
        self.records += 1
        row = self._row(record.user_id)
        video = self.catalogue.index(record.video_id)
        if record.profile:
            self._tell(row, record)
        stepped = record.stepped and self._step(row, record, video)
        key = key64(record.impression_id)
        slot = self._slot_of.get(key)
        if slot is None:
            slot = self._open(key, row, video, record)
            self.arrival[slot] = self.records if new else 0
        elif record.revision <= self._revision[slot]:
            self.duplicates += not stepped
            return bool(stepped)
        self._revision[slot] = record.revision
        self.label[slot] = record.label
        self.weight[slot] = self._weigh(record)
        if new:
            self.fresh[slot] = None
        else:
            self.trained[slot] = True
        return True

    @property
    def users(self) -> int:
        """Users that have a row."""
        return len(self._rows)

    def row_of(self, user_id: str) -> int:
        """Return the row of a user.

        Raises:
          KeyError: the user is not known.
        """
        return self._rows[user_id]

    @property
    def kept(self) -> int:
        """Examples that are kept."""
        return len(self._slot_of)

    def learned(self, slots: Ints) -> None:
        """Note that a version has learned from these examples."""
        self.trained[slots] = True
        for slot in slots.tolist():
            self.fresh.pop(slot, None)

    def drop(self, slots: Ints) -> None:
        """Let examples go that no version shall learn from; the steps stay."""
        for slot in slots.tolist():
            self.fresh.pop(slot, None)

    def anchors(self, most: int) -> Ints:
        """Return the newest `most` reserved examples of stretches whose versions were accepted."""
        slots: Ints = np.flatnonzero(self.reserved & self.trained & (self.arrival >= 0))
        found = slots[np.argsort(self.arrival[slots], kind="stable")][-most:]
        return self.usable(found)

    def forget_trained(self, after: int) -> None:
        """Drop the examples that arrived after record number `after` and were learned from; the steps stay."""
        gone = np.flatnonzero(self.trained & (self.arrival > after))
        for slot in gone.tolist():
            del self._slot_of[int(self._impression[slot])]
            self.fresh.pop(slot, None)
        self.arrival[gone] = -1
        self.trained[gone] = False

    def forget(self, user_id: str) -> dict[str, int]:
        """Remove a user's steps and examples; return how many there were."""
        row = self._rows.pop(user_id, None)
        if row is None:
            return {"steps": 0, "examples": 0}
        mine = np.flatnonzero((self.user == row) & (self._life == self.life[row]) & (self.arrival >= 0))
        for slot in mine.tolist():
            del self._slot_of[int(self._impression[slot])]
            self.fresh.pop(slot, None)
        for column in (self._impression, self.user, self.video, self.context, self.label, self.weight):
            column[mine] = 0
        self.arrival[mine], self.trained[mine] = -1, False
        steps = int(self.step_count[row])
        self.step_count[row] = 0
        self.step_offset[row], self.step_video[row], self.step_behaviour[row] = 0, 0, 0
        self._tell_nothing(row)
        self._free_rows.append(row)
        return {"steps": steps, "examples": len(mine)}

    @property
    def user_ids(self) -> list[str]:
        """Users that have a row."""
        return list(self._rows)

    def profile_of(self, row: int) -> tuple[int, ...]:
        """Return the profile that a user's first kept step began with; empty where that is not known."""
        return self.profiles.get(row, ()) if self.forgotten[row] < 0 else ()

    def shared(self, keys: Ints) -> Ints:
        """Return those keys that enough users have for something to be learned of them."""
        least = self.limits.profile_users
        return np.array([key for key in keys.tolist() if self._profile_users[key] >= least], np.int64)

    def _tell(self, row: int, record: Feedback) -> None:
        """Take in the profile of a user who had made no step; of one whose steps are known it was told before."""
        if self.step_count[row] and record.offset > self.step_offset[row, 0]:
            return
        if self.profiles.get(row) != record.profile:
            self._tell_nothing(row)
            self.profiles[row] = record.profile
            self._profile_users.update(record.profile)

    def _tell_nothing(self, row: int) -> None:
        for key in self.profiles.pop(row, ()):
            self._profile_users[key] -= 1
            if not self._profile_users[key]:
                del self._profile_users[key]

    def replay(self, count: int, rng: np.random.Generator) -> Ints:
        """Draw up to `count` distinct examples that a version has learned from and that are not new again."""
        known = self.trained & ~self.reserved & (self.arrival >= 0)
        known[np.fromiter(self.fresh, np.int64, len(self.fresh))] = False
        slots: Ints = np.flatnonzero(known)
        drawn: Ints = rng.permutation(slots)[:count]
        return drawn

    def _weigh(self, record: Feedback) -> float:
        weight = self.limits.provisional if record.provisional else 1.0
        return weight * (self.limits.explored if record.propensity < EXPLORED_BELOW else 1.0)

    def _open(self, key: int, row: int, video: int, record: Feedback) -> int:
        slot, self._next = self._next, (self._next + 1) % self.limits.examples
        if self.arrival[slot] >= 0:
            del self._slot_of[int(self._impression[slot])]
            self.fresh.pop(slot, None)
        self._slot_of[key] = slot
        self._impression[slot] = key
        self.user[slot], self.video[slot], self._life[slot] = row, video, self.life[row]
        self.context[slot] = context_offset(record)
        self.trained[slot], self.reserved[slot] = False, key % RESERVED_ONE_IN == 0
        return slot

    def _step(self, row: int, record: Feedback, video: int) -> bool:
        """Put a step in its place; False when it is there already."""
        count = int(self.step_count[row])
        offsets = self.step_offset[row]
        at = count
        if count and record.offset <= offsets[count - 1]:
            at = int(np.searchsorted(offsets[:count], record.offset))
            if offsets[at] == record.offset or record.offset <= self.forgotten[row]:
                return False
        if count == self.limits.steps:
            count = self._drop_oldest(row)
            at = max(0, at - (self.limits.steps - count))
        for column in (self.step_offset, self.step_video, self.step_behaviour):
            column[row, at + 1 : count + 1] = column[row, at:count]
        self.step_offset[row, at] = record.offset
        self.step_video[row, at] = video
        self.step_behaviour[row, at] = record.behaviour
        self.step_count[row] = count + 1
        return True

    def _drop_oldest(self, row: int) -> int:
        drop = max(1, self.limits.steps // 4)
        self.forgotten[row] = self.step_offset[row, drop - 1]
        for column in (self.step_offset, self.step_video, self.step_behaviour):
            column[row, :-drop] = column[row, drop:].copy()
        self.step_count[row] -= drop
        return int(self.step_count[row])

    def _row(self, user_id: str) -> int:
        row = self._rows.get(user_id)
        if row is not None:
            self._rows.move_to_end(user_id)
            return row
        if len(self._rows) >= self.limits.users:
            _, row = self._rows.popitem(last=False)
        elif self._free_rows:
            row = self._free_rows.pop()
        else:
            row = len(self._rows)
            if row == len(self.step_count):
                self._grow()
        self._rows[user_id] = row
        self._tell_nothing(row)
        self.step_count[row], self.forgotten[row] = 0, -1
        self.life[row] += 1
        return row

    def _grow(self) -> None:
        added = max(256, len(self.step_count))
        for name in ("step_count", "forgotten", "life", "step_offset", "step_video", "step_behaviour"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros((added, *column.shape[1:]), column.dtype)]))

    def trim_videos(self) -> None:
        """Forget videos beyond the bound."""
        size = len(self.catalogue)
        if size <= self.limits.videos:
            return
        live = np.arange(self.limits.steps) < self.step_count[:, None]
        kept = np.arange(size) >= size - self.limits.videos // 2
        kept[self.step_video[live]] = True
        kept[self.video[self.arrival >= 0]] = True
        moved = self.catalogue.keep(kept)
        self.step_video[live] = moved[self.step_video[live]]
        self.step_video[~live] = 0
        self.video = moved[np.minimum(self.video, size - 1)]

    def usable(self, slots: Ints) -> Ints:
        """Return those slots whose user, video and context are still known, in the given order."""
        rows = self.user[slots]
        alive = (self.arrival[slots] >= 0) & (self._life[slots] == self.life[rows])
        alive &= (self.context[slots] >= self.forgotten[rows]) & self.catalogue.known[self.video[slots]]
        kept: Ints = slots[alive]
        return kept

    def steps_before(self, slots: Ints) -> Ints:
        """Return how many kept steps [n] each example's hidden state had made."""
        rows = self.user[slots]
        valid = np.arange(self.limits.steps)[None, :] < self.step_count[rows][:, None]
        before: Ints = ((self.step_offset[rows] <= self.context[slots][:, None]) & valid).sum(axis=1)
        return before


def context_offset(record: Feedback) -> int:
    """Return the offset of the last event that the hidden state behind an impression had seen."""
    if record.slate_id:
        tail = record.slate_id.rpartition("-")[2]
        if tail.isdecimal():
            return int(tail)
    return record.offset - 1
