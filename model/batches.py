"""Examples to padded batches: windows of a user's steps, with every example read off at its own step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.examples import Examples, Ints
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import MAX_PROFILE
from streams.core.ports import Floats


@dataclass(frozen=True)
class BatchShape:
    """Fixed sizes, so that the step is compiled once.

    Attributes:
      rows, steps, examples: B windows of T steps, and N examples in all.
      history: steps that every example of a window has before it, where the user has made so many.
    """

    rows: int = 64
    steps: int = 32
    examples: int = 256
    history: int = 20

    @classmethod
    def remembering(cls, recent: int) -> BatchShape:
        """Return the shape that trains on what states are made of that are rebuilt from `recent` steps.

        Windows are as long as that, and never shorter than the default. Five of eight steps come before any example,
        and a batch holds as many steps and examples as ever.
        """
        plain = cls()
        steps = max(plain.steps, recent)
        rows = max(1, plain.rows * plain.steps // steps)
        return cls(rows, steps, plain.examples, steps * plain.history // plain.steps)

    @property
    def videos(self) -> int:
        """Most distinct videos in a batch, the one that stands for "not known" included."""
        return self.rows * self.steps + self.examples + 1

    @property
    def few(self) -> int:
        """Half as many: most batches have no more, and the step is compiled for such ones too."""
        return self.videos // 2 + 1

    def places(self, batch: Batch) -> int:
        """Return for how many videos a batch is padded, the one for "not known" included."""
        return self.few if len(batch.videos) < self.few else self.videos


@dataclass(frozen=True)
class Batch:
    """One padded batch. Axes: T steps, B windows, N examples, U videos.

    Attributes:
      videos: int64 [u], u <= U, catalogue indices of the distinct videos; 0 of those below means "not known".
      step_video: int32 [T, B], place in `videos` plus one.
      behaviour: float32 [T, B, F].
      row, time: int32 [N], the window of an example, and how many of its steps come before it.
      video: int32 [N], place in `videos` plus one.
      label, weight: float32 [N]; padding has weight 0.
      owner: int32 [B], the first window of the same user; a padded one is its own.
      profile: int64 [B, K], keys that the first state of a window is made of; 0 for none, and for all of a window that
        does not begin with the user's first step.
      shared: int64 [k], those of these keys that enough users have.
      slots: int64 [n], the examples' slots in the store.
    """

    videos: Ints
    step_video: NDArray[np.int32]
    behaviour: Floats
    row: NDArray[np.int32]
    time: NDArray[np.int32]
    video: NDArray[np.int32]
    label: Floats
    weight: Floats
    owner: NDArray[np.int32]
    slots: Ints
    profile: Ints
    shared: Ints


@dataclass(frozen=True)
class Window:
    """Steps [start, end) of the user in store row `user`, and the examples read off there at `times`."""

    user: int
    start: int
    end: int
    slots: list[int]
    times: list[int]


def windows(store: Examples, slots: Ints, shape: BatchShape) -> list[Window]:
    """Cut examples into windows; each user's examples in order of their context, no window longer than T steps."""
    before = store.steps_before(slots)
    order = np.lexsort((before, store.user[slots]))
    users, ends = store.user[slots][order].tolist(), before[order].tolist()
    reach = shape.steps - shape.history
    found: list[Window] = []
    start = 0
    for at in range(1, len(order) + 1):
        same = at < len(order) and users[at] == users[start] and ends[at] - ends[start] <= reach
        if not same or at - start >= shape.examples:
            end = ends[at - 1]
            first = max(0, end - shape.steps)
            members = slots[order[start:at]].tolist()
            found.append(Window(users[start], first, end, members, [one - first for one in ends[start:at]]))
            start = at
    return found


def batches(store: Examples, slots: Ints, shape: BatchShape, rng: np.random.Generator | None = None) -> Iterator[Batch]:
    """Yield batches that together hold each usable example of `slots` once; shuffled when `rng` is given."""
    cut = windows(store, store.usable(slots), shape)
    if rng is not None:
        cut = [cut[at] for at in rng.permutation(len(cut))]
    held: list[Window] = []
    count = 0
    for window in cut:
        if held and (len(held) == shape.rows or count + len(window.slots) > shape.examples):
            yield _batch(store, held, shape)
            held, count = [], 0
        held.append(window)
        count += len(window.slots)
    if held:
        yield _batch(store, held, shape)


def drawn(
    store: Examples, slots: Ints, shape: BatchShape, chance: float, steps: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield batches for training with noise: each user by chance and by nothing else, with one window and few examples.

    Args:
      chance: of a user to be in a batch. The few who are drawn beyond what fits are left out; with half as many
        expected as fit, that happens once in millions of batches.
    """
    by_user: dict[int, list[Window]] = {}
    for window in windows(store, store.usable(slots), shape):
        by_user.setdefault(window.user, []).append(window)
    users = list(by_user)
    for _ in range(steps):
        chosen = rng.permutation(np.flatnonzero(rng.random(len(users)) < chance))[: shape.rows].tolist()
        held = [_some(by_user[users[at]], shape.examples // shape.rows, rng) for at in chosen]
        yield _batch(store, held, shape) if held else empty(shape)


def _some(windows: list[Window], most: int, rng: np.random.Generator) -> Window:
    """Return one of the windows with up to `most` of its examples."""
    window = windows[int(rng.integers(len(windows)))]
    kept = np.sort(rng.permutation(len(window.slots))[:most]).tolist()
    return replace(window, slots=[window.slots[at] for at in kept], times=[window.times[at] for at in kept])


def _batch(store: Examples, held: list[Window], shape: BatchShape) -> Batch:
    users = np.array([window.user for window in held], np.int64)
    start = np.array([window.start for window in held], np.int64)
    length = np.array([window.end for window in held], np.int64) - start
    slots = np.array([slot for window in held for slot in window.slots], np.int64)
    steps = np.arange(shape.steps)[None, :]
    place = np.minimum(start[:, None] + steps, store.limits.steps - 1)
    live = steps < length[:, None]
    seen = store.step_video[users[:, None], place]
    inputs = store.step_behaviour[users[:, None], place].astype(np.float32) * live[:, :, None]
    live &= store.catalogue.known[seen]
    shown = store.video[slots]
    videos, where = np.unique(np.concatenate([seen[live], shown]), return_inverse=True)
    step_video = np.zeros((shape.rows, shape.steps), np.int32)
    step_video[: len(held)][live] = where[: len(where) - len(slots)] + 1
    behaviour = np.zeros((shape.steps, shape.rows, BEHAVIOUR_SIZE), np.float32)
    behaviour[:, : len(held)] = inputs.transpose(1, 0, 2)
    rows = [at for at, window in enumerate(held) for _ in window.slots]
    owner = np.arange(shape.rows, dtype=np.int32)
    _, first, which = np.unique(users, return_index=True, return_inverse=True)
    owner[: len(held)] = first[which]
    profile = np.zeros((shape.rows, MAX_PROFILE), np.int64)
    for at, window in enumerate(held):
        if not window.start and (own := store.profile_of(window.user)):
            profile[at, : len(own)] = own
    return Batch(
        videos=videos,
        step_video=np.ascontiguousarray(step_video.T),
        behaviour=behaviour,
        row=_pad(rows, shape.examples, np.int32),
        time=_pad([time for window in held for time in window.times], shape.examples, np.int32),
        video=_pad(where[len(where) - len(slots) :] + 1, shape.examples, np.int32),
        label=_pad(store.label[slots], shape.examples, np.float32),
        weight=_pad(store.weight[slots], shape.examples, np.float32),
        owner=owner,
        slots=slots,
        profile=profile,
        shared=store.shared(np.unique(profile)),
    )  # fmt: skip


def empty(shape: BatchShape) -> Batch:
    """Return a batch that holds nothing."""
    one = np.zeros(shape.examples, np.int32)
    weight = np.zeros(shape.examples, np.float32)
    return Batch(
        videos=np.zeros(0, np.int64),
        step_video=np.zeros((shape.steps, shape.rows), np.int32),
        behaviour=np.zeros((shape.steps, shape.rows, BEHAVIOUR_SIZE), np.float32),
        row=one,
        time=one,
        video=one,
        label=weight,
        weight=weight,
        owner=np.arange(shape.rows, dtype=np.int32),
        slots=np.zeros(0, np.int64),
        profile=np.zeros((shape.rows, MAX_PROFILE), np.int64),
        shared=np.zeros(0, np.int64),
    )


def _pad(values: Sequence[int] | NDArray[Any], size: int, dtype: type) -> NDArray[Any]:
    out: NDArray[Any] = np.zeros(size, dtype)
    out[: len(values)] = values
    return out
