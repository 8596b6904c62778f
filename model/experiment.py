"""The result of an experiment from the feedback of its arms: rewards, differences that may be watched, an A/A check."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from model.examples import EXPLORED_BELOW
from model.metrics import Interval
from model.offpolicy import snips
from model.sequential import Gap, Mean, Tally, gap
from streams.core.events import Feedback
from streams.core.hashing import bucket


class Result:
    """Collects feedback; every number may be looked at at any time.

    Args:
      control: the arm that the others are compared with.
      salt: of the halves of the A/A check.
    """

    def __init__(self, control: str, salt: str = "") -> None:
        self.control, self._salt = control, f"{salt}/halves"
        self._arms: dict[str, Tally] = {}
        self._halves = Tally(), Tally()
        self._held: dict[str, float] = {}
        self._explored: dict[str, tuple[str, float]] = {}  # of explored slots of the control: user and propensity

    def add(self, records: Iterable[Feedback]) -> None:
        """Take in feedback; a later revision replaces the label of the impression."""
        for record in records:
            before = self._held.get(record.impression_id)
            self._held[record.impression_id] = record.label
            change, count = record.label - (before or 0.0), int(before is None)
            self._arms.setdefault(record.arm, Tally()).add(record.user_id, change, count)
            if record.arm == self.control:
                half = bucket(record.user_id, self._salt) >= 0.5
                self._halves[half].add(record.user_id, change, count)
                if record.slate_id and record.propensity < EXPLORED_BELOW:
                    self._explored[record.impression_id] = record.user_id, record.propensity

    def summary(self) -> dict[str, Any]:
        """Return the result, ready for JSON. Differences are of mean labels, arm less control."""
        means = {arm: tally.mean() for arm, tally in sorted(self._arms.items())}
        control = means.get(self.control, Mean())
        return {
            "control": self.control,
            "arms": {arm: _mean(found) for arm, found in means.items()},
            "differences": {arm: _gap(gap(found, control)) for arm, found in means.items() if arm != self.control},
            "aa": _gap(gap(self._halves[0].mean(), self._halves[1].mean())),
            "uniform": self._uniform(),
        }

    def _uniform(self) -> dict[str, Any]:
        """Return the mean label of a policy that draws uniformly, from the explored slots of the control.

        Where slots are explored uniformly the weights of the estimate are nearly alike; by Boltzmann they are not.
        """
        labels = np.array([self._held[impression] for impression in self._explored])
        names = np.array([user for user, _ in self._explored.values()], str)
        chances = np.array([chance for _, chance in self._explored.values()])
        _, users = np.unique(names, return_inverse=True)
        found: Interval = snips(labels, chances, np.ones(len(labels)), users)
        numbers = {"value": found.value, "low": found.low, "high": found.high}
        return {name: _short(one) for name, one in numbers.items()} | {"labels": len(labels)}


def _mean(found: Mean) -> dict[str, Any]:
    return {"users": found.users, "labels": found.labels, "mean_label": round(found.value, 5)}


def _gap(found: Gap) -> dict[str, Any]:
    numbers = {"value": found.value, "low": found.low, "high": found.high}
    return {name: _short(one) for name, one in numbers.items()} | {"settled": found.settled}


def _short(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
