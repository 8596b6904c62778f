"""Sends records and remembers how far each partition was acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from streams.codecs import encode
from streams.config import ConfigError, Settings
from streams.core.events import Record
from streams.security import kafka_options, refusal

FLUSH_S = 60.0


class Sender:
    """A kafka-python producer: idempotent, acknowledged by all replicas, keys placed by murmur2 of their UTF-8 bytes.

    Attributes:
      ends: the offset after the last acknowledged record, by topic and partition.
    """

    def __init__(self, settings: Settings) -> None:
        """Args: settings: name the cluster; the producer connects here."""
        self._settings, self._bootstrap = settings, settings.bootstrap
        self._producer = KafkaProducer(
            **kafka_options(settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            batch_size=256 << 10,
        )
        self.ends: dict[str, dict[int, int]] = {}
        self._refused: BaseException | None = None

    def send(
        self, topic: str, key: str, record: Record, timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:  # fmt: skip
        """Send a record; it is acknowledged later.

        Raises:
          ConfigError: the cluster refused a record or does not answer.
        """
        self._raise_refused()
        try:
            future = self._producer.send(
                topic, encode(record), key.encode(), headers=list(headers), timestamp_ms=timestamp_ms
            )
        except KafkaError as error:
            raise self._sentence(error) from None
        future.add_callback(self._acknowledged).add_errback(self._failed)

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
          ConfigError: the cluster refused a record or does not answer.
        """
        try:
            self._producer.flush(timeout=FLUSH_S)
        except KafkaTimeoutError as error:
            raise self._sentence(error) from None
        self._raise_refused()

    def close(self) -> None:
        """Disconnect; what is not acknowledged by then may be lost."""
        self._producer.close(timeout=5)

    def _acknowledged(self, metadata: Any) -> None:
        ends = self.ends.setdefault(metadata.topic, {})
        ends[metadata.partition] = max(metadata.offset + 1, ends.get(metadata.partition, 0))

    def _failed(self, error: BaseException) -> None:
        self._refused = self._refused or error

    def _raise_refused(self) -> None:
        if self._refused is not None:
            raise self._sentence(self._refused)

    def _sentence(self, error: BaseException) -> ConfigError:
        if said := refusal(self._settings, error):
            return ConfigError(said)
        return ConfigError(f"the cluster at {self._bootstrap} does not take the records: {error}")
