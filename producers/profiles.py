"""What some viewers say of themselves: words that go along with their taste, without giving it away.

Age and region are drawn by how near the taste lies to directions of theirs, with noise; an interest is a topic of the
viewer's own. Nothing else of the world depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from producers.catalogue import Floats, unit
from producers.parameters import ViewerParameters

AGES = ("13-17", "18-24", "25-34", "35-44", "45-54", "55-64", "65+")
REGIONS = ("north", "east", "south", "west", "coast")
_SHARPNESS = 3.0  # of age and region: e^3 times as likely along a direction as across it


def profiles(
    parameters: ViewerParameters, tastes: Floats, topics: Floats, names: Sequence[str], seed: int
) -> list[tuple[str, ...]]:
    """Return the words of each viewer, empty for those who say nothing.

    Args:
      tastes: [V, D] at the start.
      topics, names: [T, D] directions that viewers may call an interest.
    """
    rng = np.random.default_rng([seed, 4])
    count, dimension = tastes.shape
    tells = rng.random(count) < parameters.profiled
    fields = {"age": (AGES, rng.random(count) < 0.9), "region": (REGIONS, rng.random(count) < 0.7)}
    found: list[list[str]] = [[] for _ in range(count)]
    for field, (words, given) in fields.items():
        directions = unit(rng.normal(size=(len(words), dimension)))
        noise = rng.gumbel(size=(count, len(words)))
        chosen = (_SHARPNESS * tastes @ directions.T + noise).argmax(axis=1)
        for viewer in np.flatnonzero(tells & given).tolist():
            found[viewer].append(f"{field}={words[chosen[viewer]]}")
    interested = tells & (rng.random(count) < parameters.interest_told)
    nearest = (tastes @ topics.T).argmax(axis=1)
    for viewer in np.flatnonzero(interested).tolist():
        found[viewer].append(f"interest={names[nearest[viewer]]}")
    return [tuple(words) for words in found]
