"""What exploration costs a slate: none, uniform, and by Boltzmann, on one core.

python -m benchmarks.exploration
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from streams.core.hashing import seeds_of
from streams.core.logits import Products
from streams.core.ranking import Policy, rank_tiles

ROWS, WIDTH, ROUNDS = 2_000, 34, 5
POLICIES = {
    "none": Policy(exploration=0.0),
    "uniform": Policy(exploration=0.05),
    "boltzmann": Policy(exploration=0.05, temperature=0.5),  # a position of each slate
}


def microseconds(videos: int, policy: Policy) -> float:
    """Return the time that a slate of a batch takes, the best of five rounds; a tenth of the videos was seen."""
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    keys = (0.3 * rng.normal(size=(videos, WIDTH))).astype(np.float32)
    bits = np.packbits(rng.random((ROWS, videos)) < 0.9, axis=1, bitorder="little")
    authors, minimum = rng.integers(0, videos // 5, videos), np.full(ROWS, policy.minimum)
    seeds, times = seeds_of(0, np.arange(ROWS)), []
    for _ in range(ROUNDS):
        began = perf_counter()
        rank_tiles(Products(queries, keys), videos, bits, authors, policy, minimum, seeds)
        times.append(perf_counter() - began)
    return 1e6 * min(times) / ROWS


def main() -> None:
    """Print a line for each number of videos and policy."""
    for videos in (2_900, 16_000):
        for name, policy in POLICIES.items():
            print(f"{videos:6} videos, {name:9} {microseconds(videos, policy):7.1f} µs a slate")


if __name__ == "__main__":
    main()
