"""What became of a replayed log, counted from what the workers published: pure bookkeeping, no Kafka.

Rows are known by their number in the log, so that a byte each is all that counting distinct events takes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from producers.logs import event_number
from streams.core.events import Event, Feedback, Slate, Video
from streams.core.hashing import key64


class Numbers:
    """A set of small whole numbers, a byte each; `len` counts them."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._count = 0

    def add(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        if number >= len(self._held):
            self._held.extend(bytes(max(number + 1 - len(self._held), len(self._held), 1024)))
        new = not self._held[number]
        self._held[number] = 1
        self._count += new
        return new

    def __contains__(self, number: int) -> bool:
        return number < len(self._held) and bool(self._held[number])

    def __len__(self) -> int:
        return self._count


class PoolSize:
    """How many of the log's videos a worker must be able to choose from, at a time.

    Args:
      fresh_ms: a video is fresh for this long.
      capacity: most videos in a worker's pool.
    """

    def __init__(self, videos: Iterable[Video], fresh_ms: int, capacity: int) -> None:
        self._expiries = sorted(video.published_ms + fresh_ms for video in videos)
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._expiries)

    def at(self, now_ms: int) -> int:
        """Return the number of fresh videos."""
        return min(self._capacity, len(self._expiries) - bisect_right(self._expiries, now_ms))

    def ended_between(self, first_ms: int, last_ms: int) -> int:
        """Return how many videos are fresh at `first_ms` and no longer at `last_ms`."""
        return max(0, bisect_right(self._expiries, last_ms) - bisect_right(self._expiries, first_ms))


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a user's state is: steps ever made, and the offset of the last event applied."""

    steps: int = 0
    last_offset: int = -1


@dataclass
class Tally:
    """Counts what was sent and what came of it.

    An event is *confirmed* when a feedback record of its own tells that it advanced its user's state, and its offset
    lies below the one that the workers committed; they commit only what is durable. Beyond that the number of steps in
    each user's stored state must have grown by the number of the user's events: an event lost or applied twice shows
    there.
    """

    run: str
    pool: PoolSize
    videos: frozenset[str] = frozenset()
    sent: Numbers = field(default_factory=Numbers)
    users: dict[str, int] = field(default_factory=dict)  # rows sent
    sent_twice: int = 0
    stepped: Numbers = field(default_factory=Numbers)
    confirmed: Numbers = field(default_factory=Numbers)
    slates: set[int] = field(default_factory=set)  # 64-bit keys of slate ids
    users_with_slate: set[int] = field(default_factory=set)
    short_slates: int = 0  # chose from fewer videos than the log has
    full_slates: int = 0
    feedback_duplicates: int = 0
    corrections: set[tuple[int, int]] = field(default_factory=set)
    letters: set[tuple[str, int, int]] = field(default_factory=set)
    _waiting: dict[int, deque[tuple[int, int]]] = field(default_factory=dict)
    _expected: dict[str, int] = field(default_factory=dict)
    _baseline: Mapping[str, Progress] = field(default_factory=dict)

    def start_from(self, baseline: Mapping[str, Progress]) -> None:
        """Take the users' states as they are before anything is sent."""
        self._baseline = baseline

    def send(self, event: Event, offset: int | None = None) -> None:
        """Count an event sent, or (with its `offset`) found in the topic."""
        number = event_number(self.run, event.event_id)
        if number is None:
            return
        if not self.sent.add(number):
            self.sent_twice += 1
            return
        user = event.user_id
        self.users[user] = self.users.get(user, 0) + 1
        before = self._baseline.get(user, Progress())
        if offset is None or offset > before.last_offset:
            self._expected[user] = self._expected.get(user, before.steps) + 1

    def take_slate(self, slate: Slate) -> bool:
        """Count a slate; return whether it answers an event of this run."""
        if event_number(self.run, slate.event_id) is None:
            return False
        known = len(self.slates)
        self.slates.add(key64(slate.slate_id))
        self.users_with_slate.add(key64(slate.user_id))
        if len(self.slates) > known:
            short = slate.candidates < self.pool.at(slate.made_ms)
            self.short_slates += short
            self.full_slates += not short
        return True

    def take_feedback(self, feedback: Feedback, partition: int) -> bool:
        """Count a feedback record; return whether it is about an event of this run."""
        number = event_number(self.run, feedback.impression_id)
        if number is None:
            return False
        if feedback.revision:
            revision = (number, feedback.revision)
            self.feedback_duplicates += revision in self.corrections
            self.corrections.add(revision)
        elif not self.stepped.add(number):
            self.feedback_duplicates += 1
        elif feedback.stepped:
            self._waiting.setdefault(partition, deque()).append((feedback.offset, number))
        return True

    def commit(self, committed: Mapping[int, int]) -> None:
        """Confirm the events below the offsets that are committed, by partition."""
        for partition, waiting in self._waiting.items():
            end = committed.get(partition, 0)
            while waiting and waiting[0][0] < end:
                self.confirmed.add(waiting.popleft()[1])

    def users_off(self, progress: Mapping[str, Progress]) -> list[str]:
        """Return the users whose stored state did not advance by exactly their events."""
        return [user for user, steps in self._expected.items() if progress.get(user, Progress()).steps != steps]
