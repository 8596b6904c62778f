"""What trainer processes tell each other beside gradients: the chief decides, and the others do as they are told.

Each reads its share of the partitions of `feedback` and keeps examples of its own. They go through a round together:
from the chief's weights, by the same steps, to one verdict on all that they held back. The chief alone publishes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import msgspec
import numpy as np

from model.examples import Ints
from model.progress import Through
from model.standard import STANDARD
from model.weights import Weights, from_bytes, to_bytes
from streams.core.ports import Floats


class Judged(NamedTuple):
    """Losses of examples [n] under candidate and incumbent, what each example weighs, and whose it is."""

    candidate: Floats
    incumbent: Floats
    weight: Floats
    user: Ints


class Ended(Exception):
    """Another process of the team was asked to end, so all do."""


class Order(msgspec.Struct, frozen=True):
    """What the chief tells the others to do.

    Attributes:
      kind: `start` reading feedback at `offsets`, while `version` leads; `count` what is new; take part in a `round`,
        once the erasures below `erased` are done; note what it `learned` as `version`; go `back` to what `version`
        knew; `end`.
    """

    kind: Literal["start", "count", "round", "learned", "back", "end"]
    version: int = 0
    erased: int = 0
    offsets: dict[int, int] = msgspec.field(default_factory=dict)


class Count(msgspec.Struct, array_like=True):
    """What a process has: new examples, offsets behind, and whether it was asked to end."""

    new: int
    behind: int
    stopping: bool


class Learner(Protocol):
    """A net as far as it can be handed over."""

    def export(self) -> Weights:
        """Return the weights."""

    def optimiser(self) -> Weights:
        """Return the optimiser's state."""

    def load(self, weights: Weights) -> None:
        """Take over weights; the optimiser starts anew."""

    def set_optimiser(self, state: Weights) -> None:
        """Go on from a state of the optimiser."""


class Ties(Protocol):
    """What `model.group.Group` gives."""

    count: int
    index: int

    def gather(self, message: bytes) -> list[bytes]:
        """Return what every process says."""

    def from_chief(self, message: bytes = b"") -> bytes:
        """Return what the chief says."""


class Alone:
    """A team of one."""

    count, index = 1, 0

    def tell(self, order: Order) -> None:
        """Tell the others what to do."""

    def total(self, count: Count) -> Count:
        """Return what is there in all.

        Raises:
          Ended: another process was asked to end.
        """
        return count

    def share(self, net: Learner) -> None:
        """Give every process the chief's weights and optimiser."""

    def standard(self, own: Floats | None) -> Floats | None:
        """Return the chief's statistics of numeric features, which all go by (`model.standard`)."""
        return own

    def joined(self, judged: Judged) -> Judged:
        """Return what every process judges on, one after the other; users keep apart."""
        return judged

    def most(self, steps: int) -> int:
        """Return the largest number of steps that any process has."""
        return steps

    def through(self, before: Through, own: Through) -> Through:
        """Return how far all have learned, given how far this one had and has."""
        return own


class Team(Alone):
    """Several processes, joined by `ties`."""

    def __init__(self, ties: Ties) -> None:
        self._ties = ties
        self.count, self.index = ties.count, ties.index

    def tell(self, order: Order) -> None:
        """Tell the others what to do."""
        self._ties.from_chief(msgspec.msgpack.encode(order))

    def hear(self) -> Order:
        """Return what the chief tells to do."""
        return msgspec.msgpack.decode(self._ties.from_chief(), type=Order)

    def total(self, count: Count) -> Count:
        """Ask all what is new, and return it in all; the others call `counted` meanwhile."""
        self.tell(Order("count"))
        found = self.counted(count)
        if any(one.stopping for one in found):
            self.tell(Order("end"))
            raise Ended
        return Count(sum(one.new for one in found), sum(one.behind for one in found), False)

    def counted(self, count: Count) -> list[Count]:
        """Return what every process has."""
        return [msgspec.msgpack.decode(one, type=Count) for one in self._ties.gather(msgspec.msgpack.encode(count))]

    def share(self, net: Learner) -> None:
        """Give every process the chief's weights and optimiser."""
        if not self.index:
            state = {f"w.{name}": value for name, value in net.export().items()}
            self._ties.from_chief(to_bytes(state | {f"o.{name}": value for name, value in net.optimiser().items()}))
            return
        state = from_bytes(self._ties.from_chief())
        weights, optimiser = ({name[2:]: state[name] for name in state if name[:2] == part} for part in ("w.", "o."))
        net.load(weights)
        net.set_optimiser(optimiser)

    def standard(self, own: Floats | None) -> Floats | None:
        """Return the chief's statistics of numeric features, which all go by (`model.standard`)."""
        mine = b"" if self.index else to_bytes({} if own is None else {STANDARD: own})
        return from_bytes(self._ties.from_chief(mine)).get(STANDARD)

    def joined(self, judged: Judged) -> Judged:
        """Return what every process judges on, one after the other; users keep apart."""
        mine = judged._replace(user=judged.user * self.count + self.index)
        told = [from_bytes(one) for one in self._ties.gather(to_bytes(mine._asdict()))]
        return Judged(**{name: np.concatenate([one[name] for one in told]) for name in Judged._fields})

    def most(self, steps: int) -> int:
        """Return the largest number of steps that any process has."""
        return max(int.from_bytes(one) for one in self._ties.gather(steps.to_bytes(8)))

    def through(self, before: Through, own: Through) -> Through:
        """Return how far all have learned: records added up, and of each partition the offset of its reader."""
        more = own.records - before.records
        told = self._ties.gather(msgspec.msgpack.encode((more, dict(own.offsets), own.time_ms)))
        found = [msgspec.msgpack.decode(one, type=tuple[int, dict[int, int], int]) for one in told]
        offsets = dict(own.offsets)
        for index, (_, theirs, _) in enumerate(found):
            offsets |= {number: offset for number, offset in theirs.items() if number % self.count == index}
        return Through(before.records + sum(one[0] for one in found), offsets, max(one[2] for one in found))
