"""A worker with one guard taken out, to see that a scenario notices: `python -m tests.faults.mutant GUARD worker ...`.

`small-parts` takes nothing out: it makes record batches so small that one publication has many.
"""

from __future__ import annotations

import sys

from streams.main import main

LINGER_S = 0.3


def offset_filter() -> None:
    """Events that a state has applied are applied again."""
    from streams.core import columns

    original = columns.Columns.__init__

    def init(self, *args, **kwargs) -> None:
        original(self, *args, **kwargs)
        self.replayed[:] = False

    columns.Columns.__init__ = init
    small_parts()


def acknowledgement() -> None:
    """Nothing waits until the cluster has what was sent, and it goes out late, as from a producer that lingers."""
    import asyncio

    from streams.publisher import Publisher

    async def late(self, topic, partition, records) -> None:
        await asyncio.sleep(LINGER_S)
        await original(self, topic, partition, records)

    async def publish(self, topic, partition, records) -> int:
        self.sending = {*getattr(self, "sending", ()), asyncio.ensure_future(late(self, topic, partition, records))}
        return 0

    original, Publisher.publish = Publisher.publish, publish


def epoch() -> None:
    """What was fetched before a rebalance, or before a long sleep, is taken for current; nobody is shut out."""
    from streams import batches
    from streams.changelog import FencedPublisher
    from streams.publisher import Publisher

    batches.BatchConsumer.is_current = lambda self, batch: True
    batches.BatchConsumerThread.overslept_s = lambda self: 0.0
    FencedPublisher.start = Publisher.start
    FencedPublisher._new_producer = Publisher._new_producer


def fence() -> None:
    """An earlier owner of a partition may still write its changelog."""
    from streams.batches import BatchConsumerThread
    from streams.changelog import FencedPublisher
    from streams.publisher import Publisher

    BatchConsumerThread.overslept_s = lambda self: 0.0
    FencedPublisher.start = Publisher.start
    FencedPublisher._new_producer = Publisher._new_producer


def pulse() -> None:
    """A worker that slept does not notice; only the fence is left."""
    from streams.batches import BatchConsumerThread

    BatchConsumerThread.overslept_s = lambda self: 0.0


def small_parts() -> None:
    """One publication has many record batches."""
    from streams import publisher

    publisher.BATCH_BYTES = 8_000


def poison() -> None:
    """Applying an event whose id begins with `poison` ends the process without a word."""
    import os
    import signal

    from streams.core.step import Partition

    original = Partition.apply

    def apply(self, plan, *given):
        if any(event.event_id.startswith("poison") for event in plan.events):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, plan, *given)

    Partition.apply = apply


def journal() -> None:
    """After a restart everything goes on with what serves then."""
    from streams.journal import Journal

    Journal.replayed = lambda self, offset: None


GUARDS = {
    "poison": poison,
    "journal": journal,
    "offset-filter": offset_filter,
    "acknowledgement": acknowledgement,
    "epoch": epoch,
    "fence": fence,
    "pulse": pulse,
    "small-parts": small_parts,
}

if __name__ == "__main__":
    GUARDS[sys.argv.pop(1)]()
    main()
