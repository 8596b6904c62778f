"""Sizes and form of the model; every part of one installation must agree on them."""

from __future__ import annotations

from typing import Literal

import msgspec

from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Kind


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the shapes of the weights, and the seed of those before anything was learned.

    Attributes:
      hidden_size, embedding_size, category_size: H, E and Cf of `model.weights`.
      behaviour_size: F; a version made for other behaviour features does not fit.
    """

    head: Literal["interaction", "concat"] = "interaction"
    hidden_size: int = 64
    embedding_size: int = 32
    category_size: int = 16
    behaviour_size: int = BEHAVIOUR_SIZE
    seed: int = 1

    @property
    def content_size(self) -> int:
        """C: author, tags, music, log duration and the kind."""
        return 3 * self.category_size + 1 + len(Kind)

    def fits(self, other: ModelConfig) -> bool:
        """Return whether weights of `other` can serve here; the seed does not matter."""
        return msgspec.structs.replace(self, seed=0) == msgspec.structs.replace(other, seed=0)
