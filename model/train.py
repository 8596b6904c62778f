"""One round of fine-tuning: new examples beside replayed ones, from the weights in service to a judged candidate.

The newest part of the new examples is held back: incumbent and candidate are judged on it, and the next round trains on
it. What a refused candidate was trained on stays new, so that nothing is lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from model.batches import Batch, BatchShape, batches, drawn, empty
from model.examples import Examples, Ints
from model.forms import packed, widened
from model.gate import Verdict, anchored, judge, log_losses
from model.manifest import Form
from model.nets import Net
from model.privacy import Spent, chance, together
from model.team import Alone, Judged
from model.weights import Weights
from streams.core.ports import Floats


@dataclass(frozen=True)
class RoundOptions:
    """How a round goes.

    Attributes:
      passes: times that the new examples are gone through.
      replay: older examples per new one, drawn anew for each pass.
      coolest: every step size falls to this part of itself in the course of a round, so that what is published has
        little of the noise of single steps.
      held_back: share of the new examples, newest first, that judges the candidate.
      most_new: new examples in a round; older ones beyond it are left to replay.
      user_share: largest share of a round's new examples from one user, though never fewer than `user_floor`.
      margin: how much worse in log-loss a candidate may be.
      anchors, anchor_margin: older examples that nobody was trained on, and how much worse a candidate may be on them.
      form: of the weights on the wire; candidate and incumbent are judged as they serve.
    """

    passes: int = 2
    replay: float = 1.0
    coolest: float = 0.1
    held_back: float = 0.2
    most_new: int = 16_000
    user_share: float = 0.01
    user_floor: int = 20
    margin: float = 0.0
    anchors: int = 2_000
    anchor_margin: float = 0.02
    form: Form = "float32"

    def of_each(self, processes: int) -> RoundOptions:
        """Return the options of one of several processes that go through a round together."""
        most, anchors = max(1, self.most_new // processes), self.anchors // processes
        return replace(self, most_new=most, anchors=anchors, user_share=min(1.0, self.user_share * processes))


@dataclass(frozen=True)
class Split:
    """Slots of a round: those to train on, those held back, and the arrival number up to which all is trained on.

    `skipped` are not trained on and count as learned from: beyond what one round or one user may have, or reserved.
    """

    train: Ints
    held: Ints
    skipped: Ints
    through: int


@dataclass(frozen=True)
class Round:
    """What came of a round.

    Attributes:
      weights: the candidate, None when it was refused.
      train_loss: mean loss of the new and replayed examples while they were trained on, in nats.
      trained: examples gone through, passes and replay included.
      new: new examples among them, each counted once.
      through: arrival number up to which every record is learned from.
    """

    verdict: Verdict
    weights: Weights | None
    train_loss: float
    trained: int
    new: int
    steps: int
    seconds: float
    through: int


class RoundAbandoned(Exception):
    """The process was asked to stop in the middle of a round; nothing of it is kept."""


@dataclass
class Learner:
    """The net and the examples it learns from.

    Attributes:
      spent: what noise was spent on the weights, rounds that were refused included; None where some had no noise.
      team: the processes that go through a round together.
      stopping: asked between two steps; once it says yes, the round is abandoned.
    """

    net: Net
    store: Examples
    shape: BatchShape
    options: RoundOptions
    seed: int = 0
    stopping: Callable[[], bool] = lambda: False
    rounds: int = 0
    spent: tuple[Spent, ...] | None = ()
    team: Alone = field(default_factory=Alone)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(None if self.net.options.noise else self.seed)

    def round(self) -> Round:
        """Train on what is new and judge the result; a refused candidate leaves the net as it was.

        Raises:
          RoundAbandoned: `stopping` said yes; the net is then of no use.
        """
        started = perf_counter()
        self.rounds += 1
        plan = split(self.store, self.options)
        before, optimiser = self.net.export(), self.net.optimiser()
        anchors = self.store.anchors(self.options.anchors)
        judging = np.concatenate([plan.held, anchors])
        incumbent = self._served(judging)
        self.net.standardise(self.team.standard(self.store.catalogue.moments.array()))
        train_loss, trained, steps = self._train(plan.train)
        verdict, poisoned = self._judge(plan.held, anchors, self._served(judging), incumbent)
        found: Weights | None = None
        if verdict.accepted:
            self.net.trim()
            found = self.net.export()
            self.store.learned(np.concatenate([plan.train, plan.skipped]))
        else:
            self.net.load(before)
            self.net.set_optimiser(optimiser)
            if poisoned:
                self.store.drop(plan.train)  # else every round to come would fail on them again
        seconds = perf_counter() - started
        return Round(verdict, found, train_loss, trained, len(plan.train), steps, seconds, plan.through)

    def _judge(self, held: Ints, anchors: Ints, candidate: Floats, incumbent: Floats) -> tuple[Verdict, bool]:
        """Return the verdict on losses by slot [C], and whether the older stretch speaks against what is new."""
        store, options = self.store, self.options
        parts = []
        for slots in (store.usable(held), anchors):
            judged = Judged(candidate[slots], incumbent[slots], store.weight[slots], store.user[slots])
            parts.append(self.team.joined(judged))
        verdict = judge(*parts[0], options.margin, self.rounds)
        if not verdict.accepted:
            return verdict, False
        checked = anchored(verdict, judge(*parts[1], options.anchor_margin, self.rounds))
        return checked, not checked.accepted

    def _train(self, new: Ints) -> tuple[float, int, int]:
        if self.net.options.noise:
            found = self._drawn(new)
        else:
            found = [batch for _ in range(self.options.passes) for batch in self._pass(new)]
            found += [empty(self.shape)] * (self.team.most(len(found)) - len(found))
            self.spent = None if found else self.spent
        total, trained = 0.0, 0
        cooling = (1.0 - self.options.coolest) / max(len(found), 1)
        losses = self.net.run(self.store.catalogue, self._going_on(found), lambda at: 1.0 - cooling * at)
        for batch, loss in zip(found, losses, strict=True):
            total += loss * len(batch.slots)
            trained += len(batch.slots)
        return total / max(trained, 1), trained, len(found)

    def _going_on(self, found: list[Batch]) -> Iterator[Batch]:
        for batch in found:
            if self.team.count == 1 and self.stopping():  # several must stop at once; their net sees to it
                raise RoundAbandoned
            yield batch

    def _pass(self, new: Ints) -> Iterator[Batch]:
        old = self.store.replay(int(self.options.replay * len(new)), self.rng)
        return batches(self.store, np.concatenate([new, old]), self.shape, self.rng)

    def _drawn(self, new: Ints) -> list[Batch]:
        """Return as many batches as a round without noise has, of users drawn by chance from all that may be used."""
        options, shape = self.options, self.shape
        slots = np.concatenate([new, self.store.replay(self.store.kept, self.rng)])
        users = len(np.unique(self.store.user[self.store.usable(slots)]))
        steps = -(-round(options.passes * len(new) * (1 + options.replay)) // shape.examples)
        if not users or not steps:
            return []
        wanted = chance(users, shape.rows // 2)
        if self.spent is not None:
            self.spent = together((*self.spent, Spent(noise=self.net.options.noise, chance=wanted, steps=steps)))
        return list(drawn(self.store, slots, shape, wanted, steps, self.rng))

    def _served(self, slots: Ints) -> Floats:
        """Return `_losses` of the weights as their form leaves them; training goes on from the exact ones."""
        if self.options.form == "float32":
            return self._losses(slots)
        exact = self.net.export()
        self.net.put(widened(packed(exact, self.options.form)))
        losses = self._losses(slots)
        self.net.put(exact)
        return losses

    def _losses(self, slots: Ints) -> Floats:
        """Return losses by slot [C], nan where not asked for."""
        losses = np.full(len(self.store.arrival), np.nan, np.float32)
        for batch in batches(self.store, slots, self.shape):
            logits = self.net.logits(self.store.catalogue, batch)
            losses[batch.slots] = log_losses(logits, batch.label[: len(batch.slots)])
        return losses


def split(store: Examples, options: RoundOptions) -> Split:
    """Divide the new examples; what was trained on before, with another label, is never held back.

    Reserved ones are neither trained on nor held back.
    """
    new = np.fromiter(store.fresh, np.int64, len(store.fresh))
    new = new[np.argsort(store.arrival[new], kind="stable")]
    new, skipped = new[-options.most_new :], new[: -options.most_new]
    reserved, new = new[store.reserved[new]], new[~store.reserved[new]]
    unseen = new[~store.trained[new]]
    held = unseen[len(unseen) - round(options.held_back * len(unseen)) :]
    through = int(store.arrival[held[0]]) - 1 if len(held) else store.records
    train = new[~np.isin(new, held)]
    kept = bounded(store.user[train], max(options.user_floor, int(options.user_share * len(train))))
    passed = reserved[store.arrival[reserved] <= through]
    return Split(train[kept], held, np.concatenate([skipped, train[~kept], passed]), through)


def bounded(users: Ints, most: int) -> np.ndarray:
    """Return which examples [n], oldest first, are among the newest `most` of their user."""
    order = np.lexsort((-np.arange(len(users)), users))
    ranked = users[order]
    first = np.searchsorted(ranked, ranked, "left")
    kept = np.zeros(len(users), np.bool_)
    kept[order] = np.arange(len(users)) - first < most
    return kept
