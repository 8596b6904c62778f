"""How much a scenario does, and the line of the table that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.outcome import Tally
from tests.faults.world import World


@dataclass(frozen=True)
class Plan:
    """How much: `rounds` faults, and `events` between two of them; `minutes` of the soak."""

    rounds: int = 5
    events: int = 4_000
    seed: int = 1
    minutes: float = 30.0


@dataclass
class Row:
    """One line of the table. `died` counts workers that ended though no fault of the scenario made them."""

    name: str
    rounds: int
    lost: int = 0
    doubled: int = 0
    differs: int = 0
    seconds: float = 0.0
    died: int = 0
    events: int = 0
    note: str = ""

    @property
    def red(self) -> bool:
        """Whether something came of the faults."""
        return bool(self.lost or self.doubled or self.differs or self.died)


Scenario = Callable[[World, Plan, Row], Tally]
