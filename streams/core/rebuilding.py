"""Hidden states made anew: another version's from the recent steps that a state keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import expand
from streams.core.pool import FreshPool
from streams.core.ports import Floats, Scorer
from streams.core.profile import first_states
from streams.core.state import UserStates

Ints = NDArray[np.int64]


def rebuild(states: UserStates, rows: Ints, pool: FreshPool, scorer: Scorer) -> Floats:
    """Return hidden states [B, H] of `rows`, made anew by `scorer` from the recent steps that are kept.

    A state that still has all its steps begins as the user's profile says, any other with nothing.
    """
    table, recent = states.table, states.shape.recent
    steps = table["steps"][rows].astype(np.int64)
    count = np.minimum(steps, recent)
    first = np.where(steps > recent, steps % recent, 0)
    vectors = pool.encoded(scorer).vectors
    hidden = np.zeros((len(rows), states.shape.hidden), np.float32)
    whole = np.flatnonzero(states.has_profile[rows] & (steps <= recent))
    if len(whole):
        hidden[whole] = first_states([states.profiles[row] for row in rows[whole].tolist()], scorer)
    for t in range(int(count.max(initial=0))):
        live = np.flatnonzero(count > t)
        at = rows[live], (first[live] + t) % recent
        slots = pool.slots_of_keys(table["recent_videos"][at])
        inputs = expand(table["recent_numbers"][at], table["recent_flags"][at])
        hidden[live] = scorer.step(hidden[live], vectors_of(vectors, slots), inputs)
    return hidden


def vectors_of(vectors: Floats, slots: Ints) -> Floats:
    """Return vectors [B, E] of slots [B]; zeros where the video is not known."""
    found = vectors[slots]
    found[slots < 0] = 0.0
    return found
