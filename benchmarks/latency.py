"""`freshloop bench latency`: event to slate at a share of the saturating load; worker and broker on this machine.

The load is open: events leave on time whatever the worker does, each with the moment it was due as its timestamp. A
latency is the arrival of the slate at a consumer minus that timestamp; one partition is watched. Before it is measured
the load lasts for a minute: a broker that was started for the benchmark compiles itself meanwhile, on one of the
machine's cores.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.cluster import Outputs, load, outputs
from benchmarks.driving import backlog, drive, wait_for, worker
from benchmarks.pipeline import WARM
from streams.config import Settings
from streams.topics import Topics

BACKLOG = 120_000
OVERLOAD, OVERLOAD_S = 1.3, 8.0  # of the rate at which a backlog is taken, which no sender beside it slows down
FIGURES = ("p50_ms", "p99_ms", "p999_ms")
SETTLE_S, WARM_UP_S = 3.0, 60.0


def run(
    shares: list[float], seconds: float, rate: float, partitions: int, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON.

    Args:
      shares: of the saturating load.
      seconds: at each share.
      rate: the saturating load in events/s; 0 measures it first.
      partitions: of the events; the worker owns all of them, and one is watched.
      rounds: of all shares; the result has medians.
    """
    with worker("latency", partitions) as settings:
        saturating = _saturate(settings, say, rate)
        say(f"warming up for {WARM_UP_S:.0f} s")
        asyncio.run(drive(settings, shares[0] * saturating, WARM_UP_S))
        taken = [[_at(settings, share, saturating, seconds, say) for share in shares] for _ in range(rounds)]
    rows = [summary(list(turns)) for turns in zip(*taken, strict=True)]
    half = rows[0]
    return {
        "saturating_rate": round(saturating), **{key: half[key] for key in FIGURES},
        "partitions": partitions, "rounds": rounds, "rows": rows,
    }  # fmt: skip


def summary(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of a share's turns, and each figure's least and most as `spread`."""
    figures = {key: np.array([turn[key] for turn in turns]) for key in FIGURES}
    return turns[0] | {
        **{key: round(float(np.median(found)), 1) for key, found in figures.items()},
        "spread": {key: [float(found.min()), float(found.max())] for key, found in figures.items()},
        "slates_watched": sum(turn["slates_watched"] for turn in turns),
        "sender_p99_ms": max(turn["sender_p99_ms"] for turn in turns),
    }


def _saturate(settings: Settings, say: Callable[[str], None], known: float) -> float:
    """Return the rate at which the worker takes events while more of them arrive than it can take.

    Args:
      known: that rate, when it need not be measured; the worker is only warmed up.
    """
    topics, events = Topics(settings), backlog(WARM * 2 if known else BACKLOG)
    load(settings, topics.events, events, settings.partitions)
    with outputs(settings, topics.recommendations, settings.partitions) as counter:
        wait_for(lambda: counter.total() >= WARM)
        drained = _rate(counter, lambda: counter.total() >= len(events) - WARM)
        wait_for(lambda: counter.total() >= len(events))
        if known:
            return known
        say(f"a backlog is taken at {drained:,.0f} events/s")
        until = time.monotonic() + OVERLOAD_S
        with ThreadPoolExecutor(1) as pool:
            driven = pool.submit(lambda: asyncio.run(drive(settings, OVERLOAD * drained, OVERLOAD_S)))
            time.sleep(OVERLOAD_S / 4)
            rate = _rate(counter, lambda: time.monotonic() > until)
            sent = driven.result().sent
        wait_for(lambda: counter.total() >= len(events) + sent)
    say(f"saturated at {rate:,.0f} events/s, sender and broker on the same machine")
    return rate


def _rate(counter: Outputs, done: Callable[[], bool]) -> float:
    """Return slates per second until `done`."""
    begun, first = time.monotonic(), counter.total()
    wait_for(done)
    return (counter.total() - first) / (time.monotonic() - begun)


def _at(
    settings: Settings, share: float, saturating: float, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    driven = asyncio.run(drive(settings, share * saturating, seconds))
    sent = driven.sent
    steady = np.array([one.late_ms for one in driven.seen if one.due_s >= SETTLE_S])
    p50, p99, p999 = (round(float(value), 1) for value in np.percentile(steady, (50, 99, 99.9)))
    sender = round(float(np.percentile(driven.sender_ms, 99)), 1)
    say(f"{share:.0%} of that, {sent / seconds:,.0f} events/s: p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms")
    return {
        "share": share, "rate": round(sent / seconds), "p50_ms": p50, "p99_ms": p99, "p999_ms": p999,
        "slates_watched": len(steady), "sender_p99_ms": sender,
    }  # fmt: skip
