"""One part of a batch applied in memory: decode, load states, step. Nothing is awaited here."""

from __future__ import annotations

from dataclasses import dataclass

from streams.config import Settings
from streams.core.layout import StateError
from streams.core.plan import Plan
from streams.core.step import Effects
from streams.gathering import Batch, cut
from streams.intake import Intake, condemned, take_in
from streams.journal import Entry
from streams.models import ServingModels
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
    packed: dict[bytes, bytes]
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


def apply(owned: OwnedPartition, batch: Batch, models: ServingModels, videos: int, settings: Settings) -> Turn:
    """Apply a part to the states in memory.

    Args:
      videos: end of what the pool has of the `videos` topic.
    """
    attempts, renamed = owned.attempts, bool(settings.pseudonym_key)
    guilty = attempts.suspicious and attempts.culprit(batch)
    attempts.begin(batch)
    try:
        intake = (
            condemned(batch.records[0], renamed) if guilty else take_in(batch.records, settings.partitions, renamed)
        )
        plan = owned.core.plan(intake.events)
        held, read = owned.load(plan)
        effects, entry = _step(owned, batch.begin, plan, models, videos)
        packed = owned.pack(list(effects.touched))
    except _NOT_THE_RECORDS:
        attempts.acquit()
        raise
    attempts.done(batch)
    owned.next_offset = batch.end
    return Turn(batch, intake, effects, packed, owned.turn, owned.progress(batch.end), entry, held, read)


def _step(
    owned: OwnedPartition, begin: int, plan: Plan, models: ServingModels, videos: int
) -> tuple[Effects, Entry | None]:
    """Step with what was journalled for these events when they are applied again, else with what serves now."""
    journal = owned.journal
    then = journal.replayed(begin)
    scorers = models.scorers(then.online, then.frozen) if then else None
    if then is not None and scorers is not None:
        with owned.core.pool.as_of(then.videos):
            return owned.core.apply(plan, scorers), None
    entry = journal.note(begin, *models.serving, videos)
    return owned.core.apply(plan, models.scorer), entry
