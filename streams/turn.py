"""One part of a batch applied in memory: decode, load states, step. Nothing is awaited here."""

from __future__ import annotations

from dataclasses import dataclass

from streams.config import Settings
from streams.core.layout import StateError
from streams.core.plan import Arrivals
from streams.core.step import Effects
from streams.gathering import Batch, cut
from streams.intake import Intake, condemned, take_in
from streams.journal import Ends, Entry
from streams.models import Serving, ServingModels
from streams.owned import OwnedPartition
from streams.state_store import Meta, StoreError

_NOT_THE_RECORDS = (StateError, StoreError, OSError, MemoryError)  # whatever was applied, these would have come


@dataclass(frozen=True)
class Turn:
    """What became of a part.

    Attributes:
      packed: records of the states that changed.
      number: of the call of `pack` that made them.
      entry: of the journal, to be durable before anything of this part; None when the last one still holds.
      held, read: states that were in memory, and that were read.
    """

    batch: Batch
    intake: Intake
    effects: Effects
    packed: dict[bytes, bytes | None]
    number: int
    meta: Meta
    entry: Entry | None
    held: int
    read: int


def parts_of(owned: OwnedPartition, batch: Batch) -> list[Batch]:
    """Return the parts in which a batch is applied; nearly always itself."""
    cuts = owned.attempts.cuts(batch) if owned.attempts.suspicious else []
    if batch.begin < owned.journal.until:
        cuts = [*cuts, *owned.journal.cuts(batch.begin)]
    return cut(batch, cuts) if cuts else [batch]


def apply(owned: OwnedPartition, batch: Batch, models: ServingModels, ends: Ends, settings: Settings) -> Turn:
    """Apply a part to the states in memory.

    Args:
      ends: of what the pool has of the broadcast topics.
    """
    attempts, renamed = owned.attempts, bool(settings.pseudonym_key)
    guilty = attempts.suspicious and attempts.culprit(batch)
    attempts.begin(batch)
    try:
        intake = (
            condemned(batch.records[0], renamed) if guilty else take_in(batch.records, settings.partitions, renamed)
        )
        (effects, held, read), entry = _step(owned, batch.begin, intake.events, models, ends)
        packed = owned.pack(effects)
    except _NOT_THE_RECORDS:
        attempts.acquit()
        raise
    attempts.done(batch)
    owned.next_offset = batch.end
    return Turn(batch, intake, effects, packed, owned.turn, owned.progress(batch.end), entry, held, read)


def _step(
    owned: OwnedPartition, begin: int, arrivals: Arrivals, models: ServingModels, ends: Ends
) -> tuple[tuple[Effects, int, int], Entry | None]:
    """Step with what was journalled for these events when they are applied again, else with what serves now."""
    journal = owned.journal
    then = journal.replayed(begin)
    found = models.as_of(Serving(then.online, then.frozen, then.trial, then.share)) if then else None
    if then is not None and found is not None:
        with owned.core.pool.as_of(then.videos, then.vectors):
            return owned.apply(arrivals, *found), None
    now = models.serving
    entry = journal.note(begin, now.online, now.frozen, ends.videos, now.trial, now.share, ends.vectors)
    return owned.apply(arrivals, models.scorer, models.trial), entry
