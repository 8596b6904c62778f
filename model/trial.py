"""A version on trial: the live reward of the users that it serves, beside that of the others in the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model.manifest import Current
from model.sequential import Gap, Tally, gap
from streams.core.events import Feedback
from streams.core.hashing import bucket
from streams.core.ports import trial_salt

_PATIENCE = 20  # times the labels wanted, of both sides together: then a side has too few users to wait for


@dataclass(frozen=True)
class Outcome:
    """How a trial ended; `version` serves from now on."""

    version: int
    reason: str


class LiveTrial:
    """Collects labels until it can tell. The users of each side are those that the workers give each version.

    Args:
      current: names the version on trial, its share, and the one in service.
      labels: of either side, after which a version that is not worse is put into service.
    """

    def __init__(self, current: Current, labels: int) -> None:
        self.current, self._wanted = current, labels
        self._sides = {current.version: Tally(), current.canary: Tally()}
        self._held: dict[str, dict[str, float]] = {}  # labels by user and impression, which a later revision corrects

    def add(self, record: Feedback) -> None:
        """Take in feedback of an arm that the trainer's model serves; that of other versions says nothing here."""
        version = record.model_version
        tally = self._sides.get(version)
        chosen = bucket(record.user_id, trial_salt(self.current.canary)) < self.current.share
        if tally is None or chosen != (version == self.current.canary):
            return
        held = self._held.setdefault(record.user_id, {})
        before = held.get(record.impression_id)
        held[record.impression_id] = record.label
        tally.add(record.user_id, record.label - (before or 0.0), int(before is None))

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Forget users."""
        for tally in self._sides.values():
            tally.drop(is_gone)
        for user in [user for user in self._held if is_gone(user)]:
            del self._held[user]

    def outcome(self) -> Outcome | None:
        """Return how the trial ended, None while it goes on."""
        current = self.current
        on_trial, serving = (self._sides[version].mean() for version in (current.canary, current.version))
        if not on_trial.labels or not serving.labels:
            return None
        found = gap(on_trial, serving)
        told = (
            f"mean label {on_trial.value:.4f} of {on_trial.users} users against {serving.value:.4f} of "
            f"{serving.users}, difference {_signed(found)}"
        )
        if found.high < 0.0:
            return Outcome(current.version, f"version {current.canary} is taken back: {told}")
        fewest, both = min(on_trial.labels, serving.labels), on_trial.labels + serving.labels
        if fewest >= self._wanted or both >= _PATIENCE * self._wanted:
            return Outcome(current.canary, f"version {current.canary} passed its trial: {told}")
        return None


def _signed(found: Gap) -> str:
    return f"{found.value:+.4f} (95 % at all looks from {found.low:+.4f} to {found.high:+.4f})"
