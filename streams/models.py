"""Which model version serves which arm; swapped between two batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from streams.core.pool import FreshPool
from streams.core.ports import Scorer, Trial


class Versions(Protocol):
    """What the worker needs of the registry of versions (see `model.registry`)."""

    def feed(self, key: bytes, value: bytes | None) -> str | None:
        """Take a record of the `models` topic; return the reason when it is refused."""
        ...

    def current(self) -> Scorer | None:
        """Return the version in service, when there is one."""
        ...

    def first_at_least(self, trained_through: int) -> Scorer | None:
        """Return the first version that learned from so many feedback records."""
        ...

    def trial(self) -> Trial | None:
        """Return the version on trial, when there is one."""
        ...

    def version(self, number: int) -> Scorer | None:
        """Return a version that can serve, whether or not it does."""
        ...


class Serving(NamedTuple):
    """Numbers of the versions in use; -1 for no frozen one, 0 and no share for no trial."""

    online: int
    frozen: int
    trial: int = 0
    share: float = 0.0


class ServingModels:
    """The scorers of all arms.

    Args:
      initial: serves before anything was learned.
      frozen_after: the frozen arm stays at the first version past this many examples.
      on_swap: told the new version after each swap.
    """

    def __init__(
        self,
        versions: Versions,
        initial: Scorer,
        pool: FreshPool,
        frozen_after: int,
        on_swap: Callable[[Scorer], None],
    ) -> None:
        self._versions = versions
        self._pool = pool
        self._frozen_after = frozen_after
        self._on_swap = on_swap
        self.online = initial
        self.frozen: Scorer | None = None
        self.trial: Trial | None = None
        pool.encoded(initial)

    def scorer(self, arm: str) -> Scorer:
        """Return the scorer of an arm."""
        return self.frozen if arm == "frozen" and self.frozen is not None else self.online

    def scorer_of(self, user_id: str, arm: str) -> Scorer:
        """Return the scorer of a user of an arm that may follow the model."""
        online = self.scorer(arm) is self.online
        return self.trial.scorer if online and self.trial and self.trial.chosen([user_id])[0] else self.scorer(arm)

    @property
    def serving(self) -> Serving:
        """The versions of the online and the frozen arm, -1 for none, and what is on trial."""
        frozen = -1 if self.frozen is None else self.frozen.version
        trial = (self.trial.scorer.version, self.trial.share) if self.trial else (0, 0.0)
        return Serving(self.online.version, frozen, *trial)

    def as_of(self, then: Serving) -> tuple[Callable[[str], Scorer], Trial | None] | None:
        """Return the scorers of all arms, and the trial, as they were; None when a version is no longer there."""
        if then == self.serving:
            return self.scorer, self.trial
        find = self._versions.version
        first, second = find(then.online), find(then.frozen) if then.frozen >= 0 else None
        third = find(then.trial) if then.trial else None
        if first is None or (second is None and then.frozen >= 0) or (third is None and then.trial):
            return None
        trial = Trial(third, then.share) if third is not None else None
        return lambda arm: second if arm == "frozen" and second is not None else first, trial

    def feed(self, key: bytes, value: bytes | None) -> str | None:
        """Take a record of the `models` topic; swap when it completes another version. Returns a refusal's reason."""
        refused = self._versions.feed(key, value)
        current = self._versions.current()
        if current is not None and current.version != self.online.version:
            self._pool.encoded(current)  # warmed up before it serves
            self.online = current
            if self.frozen is None:
                self.frozen = self._versions.first_at_least(self._frozen_after)
                if self.frozen is not None:
                    self._pool.encoded(self.frozen)
            self._forget()
            self._on_swap(current)
        self._try(self._versions.trial())
        return refused

    def _try(self, trial: Trial | None) -> None:
        """Begin or end a trial."""
        if trial == self.trial:
            return
        if trial is not None:
            self._pool.encoded(trial.scorer)
        self.trial = trial
        self._forget()

    def _forget(self) -> None:
        used = (self.online, self.frozen, self.trial and self.trial.scorer)
        self._pool.forget_scorers({scorer.version for scorer in used if scorer})
