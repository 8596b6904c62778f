"""`freshloop bench trainers`: examples per second of one trainer process and of several that learn as one, on loopback.

Every process goes through as many examples of its own as the one does, and computes on one thread. All of them together
count, from their first step to their last.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.pipeline import free_port
from streams.config import ConfigError, load_settings

ROOT = Path(__file__).resolve().parent.parent
LONGEST_S = 120.0


def run(counts: Sequence[int], rounds: int, examples: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON."""
    rates: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(rounds):
        for place in range(len(counts)):
            count = counts[(number + place) % len(counts)]
            rates[count].append(_turn(count, examples))
            say(f"round {number + 1}: {count} processes {rates[count][-1]:,.0f} examples/s")
    rows = [
        {
            "processes": count,
            "examples_per_second": round(median(found)),
            "spread": [round(min(found)), round(max(found))],
        }
        for count, found in rates.items()
    ]
    ratio = round(median(rates[counts[-1]]) / median(rates[counts[0]]), 3)
    return {
        "rows": rows,
        "ratio_of_last_to_first": ratio,
        "cores": os.cpu_count(),
        "examples": examples,
        "rounds": rounds,
    }


def _turn(count: int, examples: int) -> float:
    addresses = ",".join(f"127.0.0.1:{free_port()}" for _ in range(count)) if count > 1 else ""
    command = [sys.executable, "-m", "benchmarks.trainers", f"--addresses={addresses}", f"--examples={examples}"]
    children = [
        subprocess.Popen([*command, f"--index={index}"], cwd=ROOT, stdout=subprocess.PIPE) for index in range(count)
    ]
    try:
        told = [json.loads(child.communicate(timeout=LONGEST_S)[0] or "{}") for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    if not all(told):
        raise ConfigError("a trainer process ended before it had learned")
    return float(sum(one["examples"] for one in told) / max(one["seconds"] for one in told))


def main() -> None:
    """Learn as one of the processes; print how many examples it took in how many seconds."""
    from model.trainer_cli import quiet_tensorflow

    parser = argparse.ArgumentParser()
    parser.add_argument("--addresses", default="")
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--examples", type=int, required=True)
    args = parser.parse_args()
    groups: list[Any] = []

    def join() -> None:
        from model.group import Group

        groups.append(Group(args.addresses.split(","), args.index))

    quiet_tensorflow(threads=1, first=join if args.addresses else None)
    print(json.dumps(_learn(groups, args.examples)))


def _learn(groups: list[Any], examples: int) -> dict[str, float]:
    import numpy as np

    from benchmarks.train import CONFIG, _store
    from model.batches import BatchShape, batches
    from model.joint import JointNet
    from model.nets import Net
    from model.trainer_cli import net_options
    from model.weights import initial

    options, shape = net_options(load_settings()), BatchShape()
    net = JointNet(CONFIG, shape, options, groups[0], 1) if groups else Net(CONFIG, shape, options, 1)
    net.load(initial(CONFIG))
    store, rng = _store(examples), np.random.default_rng(1)
    slots = np.arange(store.kept)
    net.train(store.catalogue, next(batches(store, slots, shape, rng)))
    made = list(batches(store, slots, shape, np.random.default_rng(1)))  # as many in each, from the same examples
    begun = perf_counter()
    for _ in net.run(store.catalogue, made):
        pass
    return {"examples": float(len(slots)), "seconds": perf_counter() - begun}


if __name__ == "__main__":
    main()
