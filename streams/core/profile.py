"""What a user says of itself, as keys: it shapes the state that the user begins with.

Words are free: `age=25-34`, `region=north`, `interest=cats`. What one of them means for taste is learned
(`table.profile` of the model), so a state keeps their 64-bit keys alone, never the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streams.core.hashing import key64
from streams.core.ports import Floats, Scorer


def profile_keys(words: Iterable[str]) -> tuple[int, ...]:
    """Return the distinct keys of a profile's words, ascending; key 0 stands for nothing and is left out."""
    return tuple(sorted({key64(word) for word in words} - {0}))


def first_states(profiles: Sequence[Sequence[int]], scorer: Scorer) -> Floats:
    """Return the hidden states [B, H] in which users begin who have these keys; zeros for a user without any."""
    hidden = np.zeros((len(profiles), scorer.hidden_size), np.float32)
    told = [row for row, keys in enumerate(profiles) if keys]
    if told:
        hidden[told] = scorer.first([profiles[row] for row in told])
    return hidden
