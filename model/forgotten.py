"""Users that the trainer must not know: their examples leave the store, and feedback of theirs is passed over."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from model.examples import Examples
from model.manifest import Manifest
from streams.codecs import BadRecord, Decoder
from streams.core.erasure import Erasure, mark_of
from streams.core.events import Feedback

_decode = Decoder(Erasure)
NAMED = 32  # erasures that a manifest names; it counts all


class Forgotten:
    """Who was erased, and which of them no version says yet.

    Attributes:
      count: users erased so far.
      unsaid: offset and receipt of those that the next version is the first to leave out.
      through: every record of the `erasures` topic below this offset was taken.
    """

    def __init__(self) -> None:
        self._until: dict[bytes, int] = {}
        self.unsaid: list[tuple[int, str]] = []
        self.through = 0

    @property
    def count(self) -> int:
        """Users erased so far."""
        return len(self._until)

    def covers(self, feedback: Feedback) -> bool:
        """Tell whether a record is of an event before its user was erased."""
        return bool(self._until) and feedback.offset <= self._until.get(mark_of(feedback.user_id), -1)

    def take(self, record: Any, store: Examples) -> tuple[Erasure, dict[str, int]] | None:
        """Take a record of the `erasures` topic; return it and what left the store. None when it says nothing new."""
        self.through = record.offset + 1
        try:
            erasure = _decode(record.value)
            mark = bytes.fromhex(erasure.mark)
        except (BadRecord, ValueError):
            return None
        if erasure.offset <= self._until.get(mark, -1):
            return None
        self._until[mark] = erasure.offset
        self.unsaid.append((record.offset, erasure.receipt))
        removed = {"steps": 0, "examples": 0}
        for user_id in [one for one in store.user_ids if mark_of(one) == mark]:
            removed = store.forget(user_id)
        return erasure, removed

    def note(self, manifest: Manifest) -> Manifest:
        """Return the manifest of a version, with who is left out of it."""
        names = tuple(receipt for _, receipt in self.unsaid[-NAMED:])
        return structs.replace(manifest, erased=self.count, erased_through=self.through, excluded=names)

    def said(self, manifest: Manifest) -> None:
        """Note what a version in service says."""
        self.unsaid = [one for one in self.unsaid if one[0] >= manifest.erased_through]
