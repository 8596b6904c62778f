"""Which model version serves which arm; swapped between two batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from streams.core.pool import FreshPool
from streams.core.ports import Scorer


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

    def version(self, number: int) -> Scorer | None:
        """Return a version that can serve, whether or not it does."""
        ...


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
        pool.encoded(initial)

    def scorer(self, arm: str) -> Scorer:
        """Return the scorer of an arm."""
        return self.frozen if arm == "frozen" and self.frozen is not None else self.online

    @property
    def serving(self) -> tuple[int, int]:
        """The versions of the online and the frozen arm; -1 for none."""
        return self.online.version, -1 if self.frozen is None else self.frozen.version

    def scorers(self, online: int, frozen: int) -> Callable[[str], Scorer] | None:
        """Return the scorers of all arms as they were with these versions; None when one is no longer there."""
        if (online, frozen) == self.serving:
            return self.scorer
        first, second = self._versions.version(online), self._versions.version(frozen) if frozen >= 0 else None
        if first is None or (second is None and frozen >= 0):
            return None
        return lambda arm: second if arm == "frozen" and second is not None else first

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
            self._pool.forget_scorers({scorer.version for scorer in (self.online, self.frozen) if scorer})
            self._on_swap(current)
        return refused
