"""The explored choices of a log of feedback, with what was known when each was made: pure arrays, made of records.

An explored position is a choice whose propensity is known. Its context is the user's steps before its slate and the
videos that could have been recommended instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.examples import EXPLORED_BELOW, context_offset
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Feedback, Video
from streams.core.ports import Floats, Known, Scorer

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Reals = NDArray[np.float64]

CHUNK = 128  # choices that are looked at together
STEPS = 64  # newest steps of a user that a hidden state is made of


@dataclass(frozen=True)
class Shelf:
    """Videos [N] that there were, and for how long each may be recommended.

    A withdrawn one counts as there until it is too old: when it was withdrawn is not known afterwards.
    """

    videos: Sequence[Video]
    contents: Known
    fresh_ms: int

    def index(self) -> dict[str, int]:
        """Return places by video id."""
        return {video.video_id: place for place, video in enumerate(self.videos)}


@dataclass(frozen=True)
class Choices:
    """Explored choices [M] in order of time.

    Attributes:
      user: numbers of users; video: places on the shelf; at_ms: when the video was shown.
      chance: float64, the probability of the video where the position is explored.
      label: [M] the newest label.
      steps, behaviour: [M, S] places of the videos of the user's steps before the slate, oldest first, -1 beyond and
        where not known, and float32 [M, S, F]; count: [M].
      seen: by choice, places of the videos that the user had been shown before.
      likes: of all feedback of any arm: when it was known, when shown, place and amount, [L, 4], ascending.
    """

    shelf: Shelf
    users: list[str]
    user: Ints
    video: Ints
    at_ms: Ints
    chance: Reals
    label: Reals
    steps: Ints
    behaviour: Floats
    count: Ints
    seen: list[Ints]
    likes: Reals

    def __len__(self) -> int:
        return len(self.user)

    def after(self, at_ms: int) -> Choices:
        """Return those made later, with all that was known then."""
        first = int(np.searchsorted(self.at_ms, at_ms, side="right"))
        names = ("user", "video", "at_ms", "chance", "label", "steps", "behaviour", "count", "seen")
        return replace(self, **{name: getattr(self, name)[first:] for name in names})

    def chunks(self) -> Iterator[slice]:
        """Yield slices of some choices each."""
        for start in range(0, len(self), CHUNK):
            yield slice(start, min(start + CHUNK, len(self)))

    def eligible(self, some: slice) -> Bools:
        """Return which videos [R, N] could have been chosen."""
        published = np.array([video.published_ms for video in self.shelf.videos], np.int64)
        at = self.at_ms[some][:, None]
        found: Bools = (published <= at) & (at < published + self.shelf.fresh_ms)
        for row, seen in enumerate(self.seen[some]):
            found[row, seen] = False
        return found

    def hidden(self, some: slice, scorer: Scorer, vectors: Floats) -> Floats:
        """Return hidden states [R, H] under a version, made of the steps; vectors [N, E] of the shelf."""
        count, steps, behaviour = self.count[some], self.steps[some], self.behaviour[some]
        hidden = np.zeros((len(count), scorer.hidden_size), np.float32)
        for at in range(int(count.max(initial=0))):
            live = np.flatnonzero(count > at)
            slots = steps[live, at]
            inputs = vectors[slots]
            inputs[slots < 0] = 0.0
            hidden[live] = scorer.step(hidden[live], inputs, behaviour[live, at])
        return hidden


class Log:
    """Collects feedback, in the order of its partitions.

    Args:
      arm: whose explored positions are choices.
    """

    def __init__(self, arm: str) -> None:
        self.arm = arm
        self._newest: dict[str, Feedback] = {}
        self._steps: dict[str, list[tuple[int, str, Sequence[float]]]] = {}
        self._likes: list[tuple[int, int, str, float]] = []
        self._rest = 1.0  # propensity of a position that was not explored

    def add(self, record: Feedback) -> None:
        """Take in a record; a later revision replaces the label of its impression."""
        before = self._newest.get(record.impression_id)
        if before is not None and before.revision >= record.revision:
            return
        self._newest[record.impression_id] = record
        gained = record.label - (before.label if before else 0.0)
        self._likes.append((record.event_time_ms, record.impression_ms, record.video_id, gained))
        if record.stepped:
            self._steps.setdefault(record.user_id, []).append((record.offset, record.video_id, record.behaviour))
        if record.arm == self.arm and record.slate_id and record.propensity >= EXPLORED_BELOW:
            self._rest = record.propensity

    def choices(self, shelf: Shelf) -> Choices:
        """Return the explored choices of videos that are on the shelf."""
        index = shelf.index()
        found = [
            record
            for record in self._newest.values()
            if record.arm == self.arm
            and record.slate_id
            and record.propensity < EXPLORED_BELOW
            and record.video_id in index
        ]
        found.sort(key=lambda record: record.impression_ms)
        users = sorted({record.user_id for record in found})
        number = {user: place for place, user in enumerate(users)}
        steps, behaviour, count = self._contexts(found, index)
        likes = [(known, shown, index[video], gained) for known, shown, video, gained in self._likes if video in index]
        share = 1.0 - self._rest
        return Choices(
            shelf, users,
            np.array([number[record.user_id] for record in found], np.int64),
            np.array([index[record.video_id] for record in found], np.int64),
            np.array([record.impression_ms for record in found], np.int64),
            np.array([record.propensity for record in found], np.float64) / (share or 1.0),
            np.array([record.label for record in found], np.float64),
            steps, behaviour, count, self._seen(found, index),
            np.array(sorted(likes), np.float64).reshape(-1, 4),
        )  # fmt: skip

    def _contexts(self, found: list[Feedback], index: dict[str, int]) -> tuple[Ints, Floats, Ints]:
        places = np.full((len(found), STEPS), -1, np.int64)
        inputs = np.zeros((len(found), STEPS, BEHAVIOUR_SIZE), np.float32)
        count = np.zeros(len(found), np.int64)
        for row, record in enumerate(found):
            context = context_offset(record)
            before = [step for step in self._steps.get(record.user_id, ()) if step[0] <= context][-STEPS:]
            count[row] = len(before)
            for at, (_, video, behaviour) in enumerate(before):
                places[row, at], inputs[row, at] = index.get(video, -1), behaviour
        return places, inputs, count

    def _seen(self, found: list[Feedback], index: dict[str, int]) -> list[Ints]:
        """Return by choice the places of what its user was shown before it."""
        shown: dict[str, list[tuple[int, int]]] = {}
        for record in self._newest.values():
            if record.video_id in index:
                shown.setdefault(record.user_id, []).append((record.impression_ms, index[record.video_id]))
        return [
            np.array([place for at, place in shown[record.user_id] if at < record.impression_ms], np.int64)
            for record in found
        ]
