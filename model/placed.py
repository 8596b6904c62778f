"""A batch as a net takes it: beside the numbers, where its rows are."""

from __future__ import annotations

from typing import NamedTuple

from model.batches import Batch
from model.first import Profiles
from model.tables import Places
from streams.core.ports import Floats


class Placed(NamedTuple):
    """A batch with its rows in the tables, what of its videos is `kept` [U, 1] by dropout, and its `media` [U, M]."""

    batch: Batch
    videos: Places
    profiles: Profiles
    kept: Floats
    media: Floats
