"""Equal values: how many stand before each, and where those of others are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def nth_of_equals(values: Ints) -> Ints:
    """Return for values [..., C] how many equal ones stand before each along the last axis."""
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    place = np.arange(values.shape[-1])
    begins = np.ones(values.shape, bool)
    begins[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    nth = place - np.maximum.accumulate(np.where(begins, place, 0), axis=-1)
    found = np.empty_like(nth)
    np.put_along_axis(found, order, nth, axis=-1)
    return found


def places_of(ordered: Ints, wanted: Ints) -> tuple[Ints, Ints]:
    """Return where values [n] stand in the ascending `ordered`: place in `wanted`, and there, [M] each."""
    begins = np.searchsorted(ordered, wanted)
    counts = np.searchsorted(ordered, wanted, "right") - begins
    places = np.repeat(np.arange(len(wanted)), counts)
    return places, np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(len(places))
