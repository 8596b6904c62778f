"""Sends versions to the `models` topic: chunks and manifest first, and only when those are acknowledged, `current`.

Nothing is taken for granted that was sent: which of two hands came first is told by the order of the topic alone, so
the trainer reads back what it sent.
"""

from __future__ import annotations

from model.manifest import Manifest
from model.publish import Piece, kept_versions, records, tombstones
from model.registry import Registry
from model.topic import TIMEOUT_S, connect, deliver
from model.weights import Weights, to_bytes
from streams.config import Settings
from streams.topics import Topics


class Outbox:
    """Publishes to one lineage.

    Its methods raise KafkaError when a record was not acknowledged in time: the process must end then.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic, self._frozen_after = Topics(settings).models, settings.frozen_after
        self._producer = connect(settings)

    def close(self) -> None:
        """Flush and disconnect."""
        self._producer.close(timeout=TIMEOUT_S)

    def refuse(self, manifest: Manifest) -> None:
        """Record a refused candidate: its manifest without weights."""
        deliver(self._producer, self._topic, records(manifest, b""))

    def publish(self, manifest: Manifest, weights: Weights, current: Piece) -> None:
        """Publish a version, then the record that puts it into service or on trial."""
        deliver(self._producer, self._topic, records(manifest, to_bytes(weights)))
        self.name(current)

    def name(self, current: Piece) -> None:
        """Say what serves (`model.publish.current_record`)."""
        deliver(self._producer, self._topic, [current])

    def withdraw(self, registry: Registry, version: int) -> None:
        """Withdraw the weights that are not needed any longer, now that `version` leads."""
        kept = kept_versions(registry.manifests, version, self._frozen_after)
        deliver(self._producer, self._topic, tombstones(registry.name, registry.manifests, registry.chunks, kept))
