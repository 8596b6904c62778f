"""What each copy of a viewer has in front of it: its newest slate, where it stands in it, and what it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from producers.catalogue import Catalogue
from streams.codecs import BadRecord, Decoder
from streams.core.events import Slate

_decode = Decoder(Slate)


class Letter(NamedTuple):
    """A slate as it came: when it arrived, and its bytes, which are decoded only when its viewer looks at them."""

    arrived_ms: int
    value: bytes


Mailbox = Mapping[bytes, Letter]  # the newest letter by key


class Shown(NamedTuple):
    """One position of a slate that a viewer is about to look at."""

    number: int  # of the video
    slate_id: str
    position: int
    model_version: int


class Feeds:
    """The feeds of C copies of viewers.

    Attributes:
      keys: record keys, the UTF-8 user ids.
      seen: int32 [C, S], the last videos that each has seen, -1 where empty.
      unknown, gone, bad: positions that name a video of somebody else, or a withdrawn one; slates that do not decode.
      opened: (slate, arrival) of each slate that was looked at since the last `drain`.
    """

    def __init__(self, user_ids: list[str], catalogue: Catalogue, seen_kept: int) -> None:
        self.user_ids = user_ids
        self.keys = [user_id.encode() for user_id in user_ids]
        self.seen: NDArray[np.int32] = np.full((len(user_ids), seen_kept), -1, np.int32)
        self._seen_count = np.zeros(len(user_ids), np.int64)
        self._catalogue = catalogue
        self._letters: list[Letter | None] = [None] * len(user_ids)
        self._slates: list[Slate | None] = [None] * len(user_ids)
        self._positions = [0] * len(user_ids)
        self.unknown = self.gone = self.bad = 0
        self._opened: list[tuple[int, Slate, int]] = []

    def close(self, copy: int) -> None:
        """Put the slate away; only a newer one will be looked at."""
        self._slates[copy] = None

    def peek(self, copy: int, mailbox: Mailbox, since_ms: int) -> Shown | None:
        """Return what the copy will look at next, None when it has nothing unseen.

        Args:
          since_ms: slates that arrived earlier belong to an earlier session.
        """
        letter = mailbox.get(self.keys[copy])
        if letter is not None and letter is not self._letters[copy] and letter.arrived_ms >= since_ms:
            self._open(copy, letter)
        slate = self._slates[copy]
        if slate is None:
            return None
        for position in range(self._positions[copy], len(slate.items)):
            number = self._usable(copy, slate.items[position].video_id)
            if number >= 0:
                self._positions[copy] = position
                return Shown(number, slate.slate_id, position, slate.model_version)
        self._positions[copy] = len(slate.items)
        return None

    def see(self, copies: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        """Note that copies [B] have seen videos [B]; a copy occurs once."""
        self.seen[copies, self._seen_count[copies] % self.seen.shape[1]] = numbers
        self._seen_count[copies] += 1

    def drain(self) -> list[tuple[int, Slate, int]]:
        """Return (copy, slate, arrival in ms) of the slates looked at for the first time since the last call."""
        opened, self._opened = self._opened, []
        return opened

    def _open(self, copy: int, letter: Letter) -> None:
        self._letters[copy] = letter
        try:
            slate = _decode(letter.value)
        except BadRecord:
            self.bad += 1
            return
        self._slates[copy], self._positions[copy] = slate, 0
        self._opened.append((copy, slate, letter.arrived_ms))

    def _usable(self, copy: int, video_id: str) -> int:
        number = self._catalogue.number(video_id)
        if number < 0:
            self.unknown += 1
        elif not self._catalogue.live[number]:
            self.gone += 1
            return -1
        elif (self.seen[copy] == number).any():
            return -1
        return number
