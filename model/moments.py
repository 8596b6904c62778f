"""The optimiser's state in a file, so that a restart goes on as if there had been none."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from model.weights import Weights, WeightsError, from_bytes, to_bytes

log = logging.getLogger("freshloop.trainer")


class Moments:
    """One file in `folder`, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "optimiser.safetensors"

    def save(self, version: int, offsets: Mapping[int, int], state: Weights) -> None:
        """Keep what belongs to a version; a full disk is no reason to stop learning.

        Args:
          offsets: by partition, where new feedback begins. After a rollback that is beyond what the version knows.
        """
        where = np.array(sorted(offsets.items()), np.int64).reshape(-1, 2)
        data = to_bytes(state | {"version": np.array([version], np.int64), "offsets": where})
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(data)
            os.replace(new, self._path)
        except OSError as error:
            log.warning("the optimiser's state cannot be kept in %s: %s", self._path, error.strerror)

    def load(self, version: int) -> tuple[dict[int, int], Weights] | None:
        """Return the offsets and the state that belong to a version; None when there are none, or damaged ones."""
        try:
            state = from_bytes(self._path.read_bytes())
            kept = int(state.pop("version")[0])
            offsets = dict(state.pop("offsets").tolist())
        except FileNotFoundError:
            return None
        except (OSError, WeightsError, KeyError, IndexError) as error:
            log.warning("the optimiser starts anew, since %s cannot be read: %s", self._path, error)
            return None
        return (offsets, state) if kept == version else None
