"""What users liked lately, for their friends: the newest likes of each, in bounded memory. From the `feedback` topic.

Used in scores and explanations, never in hidden states: which likes a worker has read when it makes a slate depends on
how fast they come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import LIKED
from streams.core.erasure import mark_of
from streams.core.events import Feedback
from streams.core.hashing import key64

Ints = NDArray[np.int64]

LIKES = 16  # of each user


class Activity:
    """Likes by user.

    Args:
      users: remembered, those who liked something least recently forgotten first.
    """

    def __init__(self, users: int) -> None:
        self._row_of: OrderedDict[int, int] = OrderedDict()
        self._free = list(range(users - 1, -1, -1))
        self._names = [""] * users
        self._videos = np.zeros((users, LIKES), np.int64)
        self._times = np.zeros((users, LIKES), np.int64)
        self._used = np.zeros(users, np.int64)  # likes ever
        self._by_mark: dict[bytes, int] = {}
        self._void: dict[bytes, int] = {}  # offset of the event that erased a user

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, feedback: Feedback) -> None:
        """Take in a labelled impression; only a like counts, once for a video, and none of before an erasure."""
        if feedback.outcome in LIKED:
            if self._void and feedback.offset <= self._void.get(mark_of(feedback.user_id), -1):
                return
            self.like(feedback.user_id, key64(feedback.video_id), feedback.event_time_ms)

    def like(self, user_id: str, video: int, at_ms: int) -> None:
        """Note that a user liked a video, given by key."""
        row = self._row(user_id)
        held = np.flatnonzero(self._videos[row] == video)
        place = int(held[0]) if len(held) else int(self._used[row]) % LIKES
        self._videos[row, place] = video
        self._times[row, place] = max(at_ms, int(self._times[row, place]) if len(held) else 0)
        self._used[row] += not len(held)

    def forget(self, mark: bytes, offset: int) -> bool:
        """Forget a user, known by its mark, whom the event at `offset` erased; return whether something was known.

        Feedback of before may come later: topics have no order between them.
        """
        self._void[mark] = max(offset, self._void.get(mark, -1))
        return self._drop(mark)

    def _drop(self, mark: bytes) -> bool:
        key = self._by_mark.pop(mark, None)
        if key is None:
            return False
        self._clear(self._row_of.pop(key))
        return True

    def likes(self, users: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the likes of users [n], given by key: place in `users`, video key and time (ms), [M] each."""
        get = self._row_of.get
        rows = np.array([get(user, -1) for user in users.tolist()], np.int64)
        places = np.flatnonzero(rows >= 0)
        rows = rows[places]
        which, at = np.nonzero(self._times[rows] > 0)
        return places[which], self._videos[rows[which], at], self._times[rows[which], at]

    def name(self, user: int) -> str:
        """Return the id of a user, given by key; empty where nothing is known of it."""
        row = self._row_of.get(user, -1)
        return self._names[row] if row >= 0 else ""

    def _row(self, user_id: str) -> int:
        key = key64(user_id)
        row = self._row_of.get(key)
        if row is None:
            if not self._free:
                self._drop(mark_of(self._names[next(iter(self._row_of.values()))]))
            row = self._row_of[key] = self._free.pop()
            self._names[row] = user_id
            self._by_mark[mark_of(user_id)] = key
        self._row_of.move_to_end(key)
        return row

    def _clear(self, row: int) -> None:
        self._names[row] = ""
        self._free.append(row)
        self._videos[row] = self._times[row] = self._used[row] = 0


def decayed(times_ms: Ints, now_ms: Ints | Sequence[int], half_life_ms: float) -> NDArray[np.float64]:
    """Return what likes [M] are worth at moments [M]: 1 when they are new, half after each half-life."""
    ages = np.maximum(np.asarray(now_ms) - times_ms, 0)
    return np.asarray(2.0 ** (-np.minimum(ages / half_life_ms, 60.0)))
