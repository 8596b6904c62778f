"""What quotas cost a slate, in a pool where a tenth are products and a fiftieth are live rooms.

python -m benchmarks.quotas
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np

from streams.core.eligibility import KINDS
from streams.core.hashing import seeds_of
from streams.core.logits import Products
from streams.core.quotas import Quotas
from streams.core.ranking import Policy, rank_tiles

SLATES, DEPTH, SHARES = 256, 34, (0.88, 0.1, 0.02)
CASES = {
    "none": {},
    "most": {"product": (0, 2), "live": (0, 3)},
    "most and least": {"product": (0, 2), "live": (1, 3)},
}


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    keys = rng.normal(size=(options.videos, DEPTH)).astype(np.float32)
    logits = Products((rng.normal(size=(SLATES, DEPTH)) / 6).astype(np.float32), keys)
    authors = rng.integers(0, options.videos // 5, options.videos)
    kinds = rng.choice(len(KINDS), options.videos, p=SHARES)
    bits = np.packbits(rng.random((SLATES, options.videos)) < 0.98, axis=1, bitorder="little")
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for turn in range(options.rounds):
        seeds = seeds_of(turn, np.arange(SLATES))
        for name, limits in CASES.items():
            policy = Policy(quotas=Quotas.of(limits))
            minimum = np.full(SLATES, policy.minimum)
            started = perf_counter()
            rank_tiles(logits, options.videos, bits, authors, policy, minimum, seeds, kinds)
            times[name].append(1e6 * (perf_counter() - started) / SLATES)
    for name, column in times.items():
        low, middle, high = np.percentile(column, [10, 50, 90])
        print(f"{name:15} {middle:6.1f} µs a slate ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
