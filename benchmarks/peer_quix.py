"""The job of `bench pipeline` on Quix Streams, with its RocksDB state and its changelog topic.

Configured for speed where that keeps at-least-once: state as bytes instead of JSON, a commit every 5 s (its default),
producer batches of up to 1 MB with 20 ms of linger, polls from librdkafka's queue, values passed through as bytes.
Started by `benchmarks.pipeline` in the peers' environment.
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

from quixstreams import Application
from quixstreams.state import State

from benchmarks.job import Plain, decode_event

KEY = "s"


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    for name in ("brokers", "prefix", "group", "folder"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    app = Application(
        broker_address=args.brokers, consumer_group=args.group, auto_offset_reset="earliest", state_dir=args.folder,
        use_changelog_topics=True, loglevel="WARNING",
        producer_extra_config={"linger.ms": 20, "batch.size": 1_000_000, "enable.idempotence": True},
        consumer_extra_config={"fetch.min.bytes": 1, "queued.max.messages.kbytes": 65_536},
    )  # fmt: skip
    raw = {"value_deserializer": "bytes", "key_deserializer": "bytes", "value_serializer": "bytes"}
    events, slates, feedback = (
        app.topic(f"{args.prefix}{name}", **raw) for name in ("events", "recommendations", "feedback")
    )
    plain = Plain()
    number = iter(range(1 << 60))
    last = [b""]

    def job(value: bytes, key: Any, timestamp: int, headers: Any, state: State) -> bytes:
        event, offset = decode_event(value), next(number)
        made = plain.step(state.get_bytes(KEY), event, offset, timestamp, f"0-{offset}")
        state.set_bytes(KEY, made.state)
        last[0] = made.feedback
        return made.slate

    # One pipeline instead of two branches, which would copy the value for each.
    stream = app.dataframe(events).apply(job, stateful=True, metadata=True).to_topic(slates)
    stream.apply(lambda _: last[0]).to_topic(feedback)
    gc.freeze()  # as the others do
    app.run()


if __name__ == "__main__":
    main()
