"""The job of `bench pipeline` on Bytewax, with its recovery store.

States advance an event at a time, as its `stateful_map` hands them over; slates, which need no state, are made by the
batch (`flat_map_batch`). One worker; polls of up to 2,000 records a partition; a snapshot of touched states into the
recovery store (SQLite) at the end of each epoch of 5 s. Its state goes there and not into a changelog topic, so it
writes less to Kafka than the others. Started by `benchmarks.pipeline` in the peers' environment.
"""

from __future__ import annotations

import argparse
import gc
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from benchmarks.job import Advanced, Plain, Waiting, decode_event


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    for name in ("brokers", "prefix", "group", "folder"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    plain = Plain()

    def advance(state: bytes | None, message: Any) -> tuple[bytes, tuple[bytes, Advanced, Waiting]]:
        event, offset = decode_event(message.value or b""), message.offset or 0
        stamp = (message.timestamp or (0, 0))[1]
        made = plain.advance(state, event, offset, stamp)
        waiting = Waiting(event, offset, stamp, f"{message.partition}-{offset}", made.hidden)
        return made.state, (message.key or b"", made, waiting)

    def rank(made: list[tuple[bytes, Advanced, Waiting]]) -> list[KafkaSinkMessage[bytes, bytes]]:
        slates = plain.slates([waiting for *_, waiting in made])
        return [KafkaSinkMessage(key, slate) for (key, *_), slate in zip(made, slates, strict=True)]

    flow = Dataflow("job")
    source = KafkaSource([args.brokers], [f"{args.prefix}events"], batch_size=2_000)
    events = op.input("events", flow, source)
    keyed = op.key_on("user", events, lambda message: (message.key or b"").decode())
    made = op.key_rm("bare", op.stateful_map("advance", keyed, advance))
    slates = op.flat_map_batch("slates", made, rank)
    feedback = op.map("feedback", made, lambda one: KafkaSinkMessage(one[0], one[1].feedback))
    extra = {"linger.ms": "20", "batch.size": "1000000", "queue.buffering.max.messages": "1000000"}
    for name, stream in (("recommendations", slates), ("feedback", feedback)):
        kop.output(f"to-{name}", stream, brokers=[args.brokers], topic=f"{args.prefix}{name}", add_config=extra)
    folder = Path(args.folder) / "recovery"
    folder.mkdir(parents=True, exist_ok=True)
    init_db_dir(folder, 1)
    gc.freeze()  # as the others do
    cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=5), recovery_config=RecoveryConfig(folder))


if __name__ == "__main__":
    main()
