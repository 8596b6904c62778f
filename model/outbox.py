"""Sends versions to the `models` topic: chunks and manifest first, and only when those are acknowledged, `current`.

Nothing is taken for granted that was sent: which of two hands came first is told by the order of the topic alone, so
the trainer reads back what it sent.
"""

from __future__ import annotations

import msgspec

from model.forms import packed
from model.manifest import Manifest, Standard
from model.publish import Piece, kept_versions, records, tombstones
from model.registry import Registry
from model.signature import signing_key
from model.standard import MEASURED, standard_of
from model.topic import TIMEOUT_S, connect, deliver
from model.weights import Weights, to_bytes
from streams.codecs import encode
from streams.config import Settings
from streams.core.erasure import Erasure, Receipt
from streams.topics import Topics


class Outbox:
    """Publishes to one lineage; `index` is that of the trainer process, whose receipts say so.

    Its methods raise KafkaError when a record was not acknowledged in time: the process must end then.
    """

    def __init__(self, settings: Settings, index: int = 0) -> None:
        topics = Topics(settings)
        self._topic, self._receipts, self._name = topics.models, topics.receipts, settings.model_name
        self._key, self._frozen_after = signing_key(settings), settings.frozen_after
        self._part = f"trainer {self._name}" + (f" {index}" if index else "")
        self._producer = connect(settings)

    def close(self) -> None:
        """Flush and disconnect."""
        self._producer.close(timeout=TIMEOUT_S)

    def refuse(self, manifest: Manifest) -> None:
        """Record a refused candidate: its manifest without weights."""
        deliver(self._producer, self._topic, records(manifest, b"", self._key))

    def publish(self, manifest: Manifest, weights: Weights, current: Piece) -> None:
        """Publish a version, then the record that puts it into service or on trial."""
        manifest = msgspec.structs.replace(manifest, standard=_standard(weights))
        deliver(self._producer, self._topic, records(manifest, to_bytes(packed(weights, manifest.form)), self._key))
        self.name(current)

    def name(self, current: Piece) -> None:
        """Say what serves (`model.publish.current_record`)."""
        deliver(self._producer, self._topic, [current])

    def receipt(self, erasure: Erasure, removed: dict[str, int], now_ms: int) -> None:
        """Say what the trainer removed of a user."""
        made = Receipt(
            receipt=erasure.receipt, part=self._part, partition=erasure.partition, offset=erasure.offset, at_ms=now_ms,
            removed=removed,
        )  # fmt: skip
        key = f"{made.receipt}/{made.part}".encode()
        self._producer.send(self._receipts, key=key, value=encode(made), partition=0).get(timeout=TIMEOUT_S)

    def withdraw(self, registry: Registry, version: int) -> None:
        """Withdraw the weights that are not needed any longer, now that `version` leads."""
        kept = kept_versions(registry.manifests, version, self._frozen_after)
        deliver(self._producer, self._topic, tombstones(registry.name, registry.manifests, registry.chunks, kept))


def _standard(weights: Weights) -> dict[str, Standard]:
    """Return the statistics that weights carry, as a manifest tells them."""
    found = standard_of(weights)
    if found is None:
        return {}
    columns = zip(MEASURED, found.T.tolist(), strict=True)
    return {name: Standard(count=count, mean=mean, deviation=deviation) for name, (count, mean, deviation) in columns}
