"""The limit of events per user and minute: counted in the user's state, so that neither cuts nor restarts matter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.equals import nth_of_equals

Ints = NDArray[np.int64]
MINUTE_MS = 60_000


def beyond(table: Any, rows: Ints, now_ms: Ints, live: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """Return which events [B] are beyond their user's limit, given the counts before the batch.

    Args:
      table: with columns `minute` and `minute_events` by row.
      rows, now_ms: [B], by event; `live` [B], which of them count.
    """
    minutes = now_ms // MINUTE_MS
    before = np.where(table["minute"][rows] == minutes, table["minute_events"][rows].astype(np.int64), 0)
    found = np.zeros(len(rows), bool)
    found[live] = before[live] + nth_of_equals((rows << 32 | minutes)[live]) >= limit
    return found


def count(table: Any, rows: Ints, now_ms: Ints) -> None:
    """Count an event each of distinct rows."""
    minutes = (now_ms // MINUTE_MS).astype(np.uint32)
    counts = np.where(table["minute"][rows] == minutes, table["minute_events"][rows], 0) + 1
    table["minute"][rows], table["minute_events"][rows] = minutes, counts


def count_beyond(table: Any, rows: Ints, offsets: Ints, now_ms: Ints) -> None:
    """Count events beyond the limit, once those within it are counted: they move the offset and nothing else."""
    np.maximum.at(table["last_offset"], rows, offsets)
    same = table["minute"][rows] == now_ms // MINUTE_MS
    np.add.at(table["minute_events"], rows[same], 1)
