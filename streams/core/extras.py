"""What few users have at a time, by row: open impressions, a profile, ties. Who has none of it has nothing here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from streams.core.feedback import Impressions
from streams.core.layout import Tail
from streams.core.ties import NONE, Ties


class Extras:
    """Columns of `streams.core.state.UserStates` that are kept sparse.

    Attributes:
      impressions: open impressions by row; a row without any is absent, and `has_open` bool [R] says so.
      profiles: keys of profile fields by row, ascending; a row without is absent, and `has_profile` bool [R] says so.
      ties: whom the row's user follows and knows; a row without any is absent, and `has_ties` bool [R] says so.
    """

    def __init__(self) -> None:
        self.impressions: dict[int, Impressions] = {}
        self.profiles: dict[int, tuple[int, ...]] = {}
        self.ties: dict[int, Ties] = {}
        self.has_open, self.has_profile, self.has_ties = (np.zeros(0, bool) for _ in range(3))

    def set_open(self, row: int, impressions: Impressions) -> None:
        """Take over the open impressions of a row."""
        if impressions:
            self.impressions[row] = impressions
        else:
            self.impressions.pop(row, None)
        self.has_open[row] = bool(impressions)

    def set_profile(self, row: int, keys: tuple[int, ...]) -> None:
        """Take over the keys of a row's profile fields."""
        if keys:
            self.profiles[row] = keys
        else:
            self.profiles.pop(row, None)
        self.has_profile[row] = bool(keys)

    def set_ties(self, row: int, ties: Ties) -> None:
        """Take over whom the user of a row follows and knows."""
        some = any(ties)
        if some:
            self.ties[row] = ties
        else:
            self.ties.pop(row, None)
        self.has_ties[row] = some

    def set_extras(self, row: int, tail: Tail) -> None:
        """Take over what a stored state says behind its seen videos."""
        self.set_open(row, tail.impressions)
        self.set_profile(row, tail.profile)
        self.set_ties(row, Ties(tail.follows, tail.friends))

    def extras_of(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, Tail]]:
        """Yield the tails of rows [B] that have one, with their places."""
        if self.impressions or self.profiles or self.ties:
            some = self.has_open[rows] | self.has_profile[rows] | self.has_ties[rows]
            for place in np.flatnonzero(some).tolist():
                row = int(rows[place])
                ties = self.ties.get(row, NONE)
                yield place, Tail(self.impressions.get(row, []), self.profiles.get(row, ()), *ties)

    def count_extras(self, row: int) -> dict[str, int]:
        """Return how much a row has of what not everyone has, for a receipt."""
        found = {"profile_fields": len(self.profiles.get(row, ()))}
        ties = self.ties.get(row, NONE)
        found |= {"follows": len(ties.follows), "friends": len(ties.friends)}
        return {name: count for name, count in found.items() if count}
