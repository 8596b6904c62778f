"""What fixes the shape of a model; every part of one installation must agree on it."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from model.modalities import MODALITIES, Modality, size_of
from streams.config import Settings
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Kind

HeadName = Literal["interaction", "concat"]

MAX_SIZE = 4096


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the weights; part of every manifest.

    Attributes:
      head: `interaction`, whose order is personal, or `concat`, as published.
      hidden_size, embedding_size, category_size: H, E and Cf.
      seed: of version 0; it changes no shape.
      memory: whether the last E of the H hidden units are a memory (`model.memory`) and no units of the GRU. Versions
        with and without one serve beside each other.
      media: content vectors that the video tower sees; versions with others, or none, serve beside each other.
    """

    head: HeadName = "interaction"
    hidden_size: int = 64
    embedding_size: int = 32
    category_size: int = 32
    seed: int = 1
    memory: bool = False
    media: tuple[Modality, ...] = ()

    def __post_init__(self) -> None:
        if self.head not in get_args(HeadName):
            raise ValueError(f"head must be one of {', '.join(get_args(HeadName))}, not {self.head!r}")
        for name in ("hidden_size", "embedding_size", "category_size"):
            if not 1 <= getattr(self, name) <= MAX_SIZE:
                raise ValueError(f"{name} must be from 1 to {MAX_SIZE}, not {getattr(self, name)}")
        if self.memory and self.hidden_size <= self.embedding_size:
            wanted = f"beyond {self.embedding_size}, the units of the memory"
            raise ValueError(f"hidden_size must be {wanted}, not {self.hidden_size}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, but is {self.seed}")
        if self.media != tuple(name for name in MODALITIES if name in self.media):
            raise ValueError(f"media must be some of {', '.join(MODALITIES)} in this order, not {self.media!r}")

    @property
    def recurrent_size(self) -> int:
        """Units of the GRU: the first of the hidden ones."""
        return self.hidden_size - self.embedding_size if self.memory else self.hidden_size

    @property
    def content_size(self) -> int:
        """Columns C of a video's content: author, tags, music, duration and kind."""
        return 3 * self.category_size + 1 + len(Kind)

    @property
    def media_size(self) -> int:
        """Columns M of a video's media: the vectors, and for each modality whether it is missing."""
        return size_of(self.media)

    @property
    def input_size(self) -> int:
        """Columns of a GRU input: video vector and behaviour."""
        return self.embedding_size + BEHAVIOUR_SIZE

    def differences(self, other: ModelConfig) -> list[str]:
        """Return what keeps weights of `other` from serving here, a phrase each."""
        names = ("head", "hidden_size", "embedding_size", "category_size")
        return [
            f"{name} {getattr(other, name)}, not {getattr(self, name)}"
            for name in names
            if getattr(self, name) != getattr(other, name)
        ]


def model_config(settings: Settings) -> ModelConfig:
    """Return the model's configuration."""
    return ModelConfig(
        head=settings.head,
        hidden_size=settings.hidden_size,
        embedding_size=settings.embedding_size,
        seed=settings.model_seed,
        memory=settings.taste_memory and settings.hidden_size > settings.embedding_size,
        media=tuple(name for name in MODALITIES if name in settings.media_inputs.split(",")),
    )
