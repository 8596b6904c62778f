"""Adam for the small networks of the evaluated model, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Self

import numpy as np

from streams.core.ports import Floats

_FIRST = 0.9  # of the first moment; that of the second is each network's own


class AdamNetwork:
    """Parameters by name, float32, and what Adam keeps of them.

    Args:
      second: decay of the second moments.
    Source: Kingma and Ba 2015.
    """

    def __init__(self, parameters: dict[str, Floats], second: float) -> None:
        self.parameters = parameters
        self.steps = 0
        self._decay = second
        self._first = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._second = {name: np.zeros_like(value) for name, value in parameters.items()}

    def held(self) -> Self:
        """Return a copy that scores as this one does now, and must not learn."""
        other = copy(self)
        other.parameters = {name: value.copy() for name, value in self.parameters.items()}
        return other

    def move(self, gradients: Mapping[str, Floats], rate: float, decay: float = 0.0) -> None:
        """Make one step of size `rate`; `decay` is the weight decay per unit of it."""
        self.steps += 1
        first_share, second_share = 1.0 - _FIRST**self.steps, 1.0 - self._decay**self.steps
        for name, gradient in gradients.items():
            first, second, own = self._first[name], self._second[name], self.parameters[name]
            first += np.float32(1.0 - _FIRST) * (gradient - first)
            second += np.float32(1.0 - self._decay) * (gradient * gradient - second)
            step = first / first_share / (np.sqrt(second / second_share) + 1e-8)
            if decay:
                step += decay * own
            own -= np.float32(rate) * step.astype(np.float32)
