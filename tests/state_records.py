"""A stored state of each layout, kept in tests/data: `python -m tests.state_records` writes that of the present one."""

import json
from pathlib import Path

import numpy as np

from streams.core.feedback import Impression
from streams.core.hashing import key64
from streams.core.layout import LAYOUT, StateShape
from streams.core.pool import FreshPool
from streams.core.state import UserStates
from streams.core.ties import Ties
from tests.fakes import video

FOLDER = Path(__file__).with_name("data")
SHAPE = StateShape(8, 4, 6, positions=8, chunk=3)
OPEN = [Impression("0-7", 2, "", "v5", 1000)]
PROFILE = (-(2**62), 7, 2**62)
TIES = Ties((-(2**62), 7), (2**62,))
#: Columns that say how a record is laid out, or that have a test of their own.
NOT_COMPARED = {"layout", "features", "recent", "chunk", "hidden_size", "mask_bytes", "unlabelled", "seen", "spare"}


def pool():
    found = FreshPool(64, 10**9, 10)
    found.add([video(number) for number in range(30)])
    return found


def filled():
    """Return states with one user in which no column is zero."""
    states = UserStates(SHAPE, pool())
    row, rng = states.row("a"), np.random.default_rng(1)
    for name in sorted(states.table.dtype.names):
        if name not in NOT_COMPARED | {"seen_count"}:
            column = states.table[name][row]
            states.table[name][row] = rng.integers(1, 100, column.shape)
    for number in (1, 2, 3, 4, 99):
        slot = states._pool.slot(f"v{number}")
        states.mark_seen(states.rows(["a"]), np.array([slot]), np.array([key64(f"v{number}")]))
    states.set_open(row, OPEN)
    states.set_profile(row, PROFILE)
    states.set_ties(row, TIES)
    return states


def columns(states):
    row = states.row("a")
    return {
        name: np.asarray(states.table[name][row]).tolist()
        for name in states.table.dtype.names
        if name not in NOT_COMPARED
    }


def main():
    states = filled()
    found = {"layout": LAYOUT, "columns": columns(states), "seen": states.seen_keys(states.row("a")).tolist()}
    found["records"] = {key.hex(): value.hex() for key, value in states.pack(["a"]).items()}
    (FOLDER / f"state-layout-{LAYOUT}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
