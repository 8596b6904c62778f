"""What a batch asks the shell to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from streams.core.erasure import Erased
from streams.core.events import Feedback, Slate
from streams.core.records import FeedbackRecords, SlateRecords


@dataclass
class Effects:
    """What a batch asks the shell to do.

    Attributes:
      ranked: slates, arm by arm, a part for each stretch of the batch.
      labelled: feedback in the order of the events, a part for each stretch of the batch.
      touched: users whose state changed, in order.
      erased: what became of users who asked to be forgotten.
    """

    ranked: list[SlateRecords] = field(default_factory=list)
    labelled: list[FeedbackRecords] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)
    erased: list[Erased] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def slates(self) -> list[Slate]:
        """The slates as records, made anew at each look."""
        return [slate for part in self.ranked for slate in part]

    def slates_of(self, event_ids: Collection[str]) -> list[Slate]:
        """Return the slates that these events triggered; no other is made."""
        return [slate for part in self.ranked for slate in part.of(event_ids)]

    def slate_pairs(self) -> list[tuple[bytes, bytes]]:
        """Return keys and values of the slates to be published."""
        return [pair for part in self.ranked for pair in part.pairs()]

    def feedback_pairs(self) -> list[tuple[bytes, bytes]]:
        """Return keys and values of the feedback to be published."""
        return [pair for part in self.labelled for pair in part.pairs()]

    @property
    def feedback(self) -> list[Feedback]:
        """The feedback as records, made anew at each look."""
        return [record for part in self.labelled for record in part]

    def rewards(self) -> dict[str, tuple[int, float]]:
        """Return by arm how many impressions were labelled first, and the sum of these labels."""
        found: dict[str, tuple[int, float]] = {}
        for part in self.labelled:
            for arm, (added, total) in part.rewards().items():
                before = found.get(arm, (0, 0.0))
                found[arm] = before[0] + added, before[1] + total
        return found

    def add(self, later: Effects) -> None:
        """Take over what a later stretch of the same batch did."""
        self.ranked += later.ranked
        self.labelled += later.labelled
        self.touched |= later.touched
        self.erased += later.erased
        self.counts += later.counts
