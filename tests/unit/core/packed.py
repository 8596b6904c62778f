"""A packed state."""

from __future__ import annotations

from streams.core.layout import StateShape
from streams.core.state import UserStates
from tests.property.test_batch_cuts import make_pool

SHAPE = StateShape(16, 4, 6)


def _record() -> bytes:
    states = UserStates(SHAPE, make_pool())
    states.row("u")
    return states.pack(["u"])[b"uu"]


RECORD = _record()
