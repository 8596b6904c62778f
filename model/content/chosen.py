"""The content model that the settings ask for: the towers that ship, or a backbone in place of the frames' tower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.content.decoder import Decoder
from model.content.encoder import ContentEncoder
from model.content.media import Limits
from model.content.weights import read_weights
from streams.config import Settings


def limits_of(settings: Settings) -> Limits:
    """Return the decoder's bounds as the settings have them."""
    return Limits(
        seconds=settings.content_seconds,
        cpu_seconds=max(int(settings.content_seconds), 1),
        memory_mb=settings.content_memory_mb,
        megabytes=settings.content_megabytes,
        schemes=tuple(filter(None, settings.content_schemes.split(","))),
    )


@contextmanager
def content_model(settings: Settings, weights: Path) -> Iterator[tuple[ContentEncoder, Decoder, str]]:
    """Give the encoder, its decoder, and the version of their vectors; the decoder's process ends at the end.

    Raises:
      ConfigError: the weights, or the backbone and its file, are not what they must be.
    """
    read, manifest = read_weights(weights)
    if not settings.content_backbone:
        with Decoder(limits_of(settings)) as decoder:
            yield ContentEncoder(read, decoder), decoder, manifest.version
        return
    from model.trainer_cli import quiet_tensorflow

    quiet_tensorflow(threads=1)
    from model.content.backbone import SIZE, Backbone, BackboneChoice

    choice = BackboneChoice(
        settings.content_backbone, settings.content_backbone_weights, settings.content_backbone_sha256
    )
    backbone = Backbone(choice)
    with Decoder(limits_of(settings), size=SIZE) as decoder:
        yield ContentEncoder(read, decoder, backbone), decoder, choice.version(manifest.version)
