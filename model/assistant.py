"""A trainer process beside the chief: it reads its share of feedback, and does as the chief says (`model.team`)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from model.progress import Journal, Through
from model.team import Count, Order, Team
from model.train import Round, RoundAbandoned
from model.trainer import READ_AGAIN, Trainer

log = logging.getLogger("freshloop.trainer")


class Assistant(Trainer):
    """Takes part in the chief's rounds; publishes nothing but receipts of erasures."""

    _team: Team
    _done: Round

    def run(self, stopping: Callable[[], bool]) -> None:
        """Help until the chief says that it ends, or a round is abandoned."""
        self._stopping = self.net.stopping = stopping
        try:
            self.start(stopping)
            while self.obey(self._team.hear()):
                self._take(self._intake.poll(0.05))
                self._observe()
        except RoundAbandoned:
            log.info("a round is abandoned; the next start does it again")

    def start(self, stopping: Callable[[], bool]) -> None:
        """Read what the chief reads, and begin with feedback where it says."""
        self._read_whole(stopping)
        told = self._team.hear()
        self._base, self._arrivals = told.version, {told.version: 0}
        self._journal = Journal(Through(0, told.offsets))
        self._new_from = self._intake.start_feedback(told.offsets, READ_AGAIN)
        self._live = True

    def obey(self, order: Order) -> bool:
        """Do what the chief says; return whether there is more to come."""
        match order.kind:
            case "count":
                behind = sum(self._intake.lag().values())
                self._team.counted(Count(len(self.store.fresh) - self._left, behind, self._stopping()))
            case "round":
                self._take_part(order.erased)
            case "learned":
                self._base = order.version
                self._arrivals[order.version] = self._done.through
                self._journal.learned(self._done.through)
            case "back":
                self._base = order.version
                self.store.forget_trained(self._arrivals.get(order.version, -1))
        return order.kind != "end"

    def _take_part(self, erased: int) -> None:
        while self._forgotten.through < erased:
            self._take(self._intake.poll(0.1))
        self._team.share(self.net)
        self._done = self.learner.round()
        self._team.through(self._journal.through, self._journal.upto(self._done.through))
        self._left = len(self.store.fresh)
        self._count_round(self._done)
