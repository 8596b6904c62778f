"""Sends versions to the `models` topic: chunks and manifest first, and only when those are acknowledged, `current`."""

from __future__ import annotations

from collections.abc import Sequence

from kafka import KafkaProducer

from model.manifest import Manifest
from model.publish import Piece, current_record, kept_versions, records, tombstones
from model.registry import Registry
from model.signature import signing_key
from model.weights import Weights, to_bytes
from streams.codecs import encode
from streams.config import Settings
from streams.core.erasure import Erasure, Receipt
from streams.security import kafka_options
from streams.topics import Topics

TIMEOUT_S = 30.0


class Outbox:
    """Publishes to one lineage; what is acknowledged goes to the registry at once, before it is read back.

    Args:
      registry: of the lineage; says which epoch and which versions there are.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._topic, self._receipts = Topics(settings).models, Topics(settings).receipts
        self._key = signing_key(settings)
        self._registry, self._frozen_after = registry, settings.frozen_after
        self._producer = KafkaProducer(**kafka_options(settings), acks="all", max_request_size=2 << 20, linger_ms=0)

    def close(self) -> None:
        """Flush and disconnect."""
        self._producer.close(timeout=TIMEOUT_S)

    def refuse(self, manifest: Manifest) -> None:
        """Record a refused candidate: its manifest without weights."""
        self._send(records(manifest, b"", self._key))

    def publish(self, manifest: Manifest, weights: Weights) -> None:
        """Publish a version, put it into service, and withdraw the weights that are not needed any longer."""
        name, named = manifest.name, self._registry.named
        self._send(records(manifest, to_bytes(weights), self._key))
        reason = manifest.evaluation.reason
        self._send([current_record(name, (named.epoch if named else 0) + 1, manifest.version, reason)])
        kept = kept_versions(self._registry.manifests, manifest.version, self._frozen_after)
        self._send(tombstones(name, self._registry.manifests, self._registry.chunks, kept))

    def receipt(self, erasure: Erasure, removed: dict[str, int], now_ms: int) -> None:
        """Say what the trainer removed of a user."""
        part = f"trainer {self._registry.name}"
        made = Receipt(
            receipt=erasure.receipt, part=part, partition=erasure.partition, offset=erasure.offset, at_ms=now_ms,
            removed=removed,
        )  # fmt: skip
        key = f"{made.receipt}/{part}".encode()
        self._producer.send(self._receipts, key=key, value=encode(made), partition=0).get(timeout=TIMEOUT_S)

    def _send(self, pieces: Sequence[Piece]) -> None:
        """Send records and wait until all replicas have them.

        Raises:
          KafkaError: one was not acknowledged in time; the version does not serve, and the process must end.
        """
        futures = [self._producer.send(self._topic, key=piece.key, value=piece.value, partition=0) for piece in pieces]
        self._producer.flush(timeout=TIMEOUT_S)
        for future in futures:
            future.get(timeout=TIMEOUT_S)
        for piece in pieces:
            self._registry.feed(piece.key, piece.value)
