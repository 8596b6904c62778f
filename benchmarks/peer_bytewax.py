"""The job of `bench pipeline` on Bytewax, with its recovery store.

One worker; polls of up to 2,000 records a partition; a snapshot of the touched states into the recovery store (SQLite)
at the end of each epoch of 5 s. Its state goes there and not into a changelog topic, so it writes less to Kafka than
the others. Started by `benchmarks.pipeline` in the peers' environment.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from benchmarks.job import Output, Plain, decode_event


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    for name in ("brokers", "prefix", "group", "folder"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    plain = Plain()

    def job(state: bytes | None, message: Any) -> tuple[bytes, tuple[bytes, Output]]:
        event, offset = decode_event(message.value or b""), message.offset or 0
        stamp = (message.timestamp or (0, 0))[1]
        made = plain.step(state, event, offset, stamp, f"{message.partition}-{offset}")
        return made.state, (message.key or b"", made)

    flow = Dataflow("job")
    source = KafkaSource([args.brokers], [f"{args.prefix}events"], batch_size=2_000)
    events = op.input("events", flow, source)
    keyed = op.key_on("user", events, lambda message: (message.key or b"").decode())
    made = op.key_rm("bare", op.stateful_map("job", keyed, job))
    slates = op.map("slates", made, lambda both: KafkaSinkMessage(both[0], both[1].slate))
    feedback = op.map("feedback", made, lambda both: KafkaSinkMessage(both[0], both[1].feedback))
    extra = {"linger.ms": "20", "batch.size": "1000000", "queue.buffering.max.messages": "1000000"}
    for name, stream in (("recommendations", slates), ("feedback", feedback)):
        kop.output(f"to-{name}", stream, brokers=[args.brokers], topic=f"{args.prefix}{name}", add_config=extra)
    folder = Path(args.folder) / "recovery"
    folder.mkdir(parents=True, exist_ok=True)
    init_db_dir(folder, 1)
    cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=5), recovery_config=RecoveryConfig(folder))


if __name__ == "__main__":
    main()
