"""When viewers come, look and leave: the same schedule for all arms, so that arms differ in their slates alone."""

from __future__ import annotations

import heapq
from math import floor, log

import numpy as np

from producers.behaviour import Stream, pair_uniforms
from producers.parameters import PaceParameters
from producers.viewers import Viewers

_TRIES = 24
_POLL_MS = 40


class Sessions:
    """Sessions of V viewers.

    Attributes:
      active: how many viewers are in a session.
      opened_ms: [V], when the present session began.
      waiting_ms: [V], since when the viewer waits for its next video, 0: does not wait.
    """

    def __init__(self, viewers: Viewers, pace: PaceParameters, seed: int) -> None:
        self._viewers, self._pace, self._seed = viewers, pace, seed
        self._count = 0
        self._due: list[tuple[int, int]] = []
        self._remaining = [0] * viewers.count
        self.opened_ms = [0] * viewers.count
        self.waiting_ms = [0] * viewers.count
        self.active = 0

    def open(self, now_ms: int) -> int:
        """Begin a session of an idle viewer and return it; -1 when none was found."""
        self._count += 1
        u = pair_uniforms(self._seed, Stream.SESSIONS, np.array([self._count]), np.array([0]), _TRIES + 1)[0].tolist()
        for draw in u[1:]:
            viewer = self._viewers.who(draw)
            if not self._remaining[viewer]:
                break
        else:
            return -1
        mean = self._pace.session_steps
        self._remaining[viewer] = 1 + (floor(log(1.0 - u[0]) / log(1.0 - 1.0 / mean)) if mean > 1.0 else 0)
        self.opened_ms[viewer], self.waiting_ms[viewer] = now_ms, 0
        self.active += 1
        self._at(now_ms + round(1000 * self._pace.first_wait_s), viewer)
        return viewer

    def due(self, now_ms: int) -> int:
        """Return and take the next viewer that looks at its feed by now, -1 when there is none."""
        if not self._due or self._due[0][0] > now_ms:
            return -1
        return heapq.heappop(self._due)[1]

    def wait(self, viewer: int, now_ms: int) -> int:
        """Let a viewer without a video look again soon; return how long it has been waiting, in ms."""
        if not self.waiting_ms[viewer]:
            self.waiting_ms[viewer] = now_ms
        waited = now_ms - self.waiting_ms[viewer]
        self._at(now_ms + max(_POLL_MS, min(waited // 8, 1000)), viewer)
        return waited

    def stepped(self, viewer: int, next_ms: int) -> None:
        """Note that a viewer saw a video; it looks again at `next_ms`, or leaves when its session is over."""
        self.waiting_ms[viewer] = 0
        self._remaining[viewer] -= 1
        if self._remaining[viewer]:
            self._at(next_ms, viewer)
        else:
            self.active -= 1

    def _at(self, at_ms: int, viewer: int) -> None:
        heapq.heappush(self._due, (at_ms, viewer))
