"""`freshloop bench swap`: slates around a change of the model's version against those before, states rebuilt meanwhile.

Each swap publishes other weights under a new version, as the trainer does. The worker reads and checks them, encodes
its pool, and then rebuilds each user's hidden state from the recent events on first touch.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from benchmarks.cluster import load, outputs
from benchmarks.driving import Seen, backlog, drive, wait_for, worker
from model.config import model_config
from model.manifest import Manifest
from model.publish import current_record, records
from model.topic import send
from model.weights import initial, to_bytes
from streams.config import ConfigError, Settings
from streams.topics import Topics

BEFORE_S, AROUND_S = 5.0, (-0.5, 2.5)  # by when an event was due, from the first slate of the new version on
EVERY_S = 9.0
HISTORY = 60_000  # events that have made the states


def run(swaps: int, rate: float, partitions: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON."""
    with worker("swap", partitions) as settings:
        topics, history = Topics(settings), backlog(HISTORY)
        load(settings, topics.events, history, partitions)
        with outputs(settings, topics.recommendations, partitions) as counter:
            wait_for(lambda: counter.total() >= HISTORY)
            seconds = EVERY_S * swaps + BEFORE_S
            found, sent, _ = asyncio.run(drive(settings, rate, seconds, lambda: _publish(settings, swaps)))
            wait_for(lambda: counter.total() >= HISTORY + sent)
            made = counter.total() - HISTORY
    rows = [_around(found, version, say) for version in range(1, swaps + 1)]
    ratios = [row["ratio"] for row in rows]
    return {
        "p99_before_ms": statistics.median(row["p99_before_ms"] for row in rows),
        "p99_around_ms": statistics.median(row["p99_around_ms"] for row in rows),
        "ratio_to_before": round(statistics.median(ratios), 3), "ratio_spread": [min(ratios), max(ratios)],
        "events": sent, "slates": made, "missed": sent - made, "rate": rate, "partitions": partitions, "rows": rows,
    }  # fmt: skip


def _publish(settings: Settings, swaps: int) -> None:
    """Publish versions 1, 2, ... at even times, each of other weights."""
    config = model_config(settings)
    begun = time.monotonic()
    for version in range(1, swaps + 1):
        weights = initial(msgspec.structs.replace(config, seed=version + 1))
        time.sleep(max(0.0, begun + EVERY_S * version - 1.0 - time.monotonic()))
        now = time.time_ns() // 1_000_000
        manifest = Manifest(
            name=settings.model_name, version=version, parent=version - 1, config=config, created_ms=now,
            trained_through=1_000 * version, trained_through_ms=now,
        )  # fmt: skip
        pieces = records(manifest, to_bytes(weights))
        send(settings, [pieces, [current_record(settings.model_name, version, version, "a swap to be measured")]])


def _around(found: list[Seen], version: int, say: Callable[[str], None]) -> dict[str, Any]:
    first = min((one.due_s for one in found if one.version == version), default=None)
    if first is None:
        raise ConfigError(f"version {version} never made a slate on the partition that is watched")
    low, high = first + AROUND_S[0], first + AROUND_S[1]
    before = [one.late_ms for one in found if low - BEFORE_S <= one.due_s < low]
    around = [one.late_ms for one in found if low <= one.due_s < high]
    row = {
        "version": version,
        "p99_before_ms": round(float(np.percentile(before, 99)), 1),
        "p99_around_ms": round(float(np.percentile(around, 99)), 1),
    }
    row["ratio"] = round(row["p99_around_ms"] / row["p99_before_ms"], 3)
    say(f"version {version}: p99 {row['p99_before_ms']} ms before, {row['p99_around_ms']} ms around the swap")
    return row
