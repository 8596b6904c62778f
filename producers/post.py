"""The simulator's two ends of Kafka: events and videos out, the newest slate of each user in."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from producers.feeds import Letter
from streams.clock import Clock
from streams.codecs import encode
from streams.config import ConfigError, Settings
from streams.core.events import Event
from streams.security import kafka_options, refusal
from streams.topics import Topics

_POLL_RECORDS = 2000
_BLOCK_S = 10.0  # a broker that is silent for so long is not there
_FLUSH_S = 30.0  # a broker may be restarted meanwhile


class Outbox:
    """Sends over one kafka-python producer, batched and acknowledged by all replicas."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._bootstrap = settings, settings.bootstrap
        topics = Topics(settings)
        self._events, self._videos = topics.events, topics.videos
        self._producer = KafkaProducer(
            **kafka_options(settings),
            acks="all",
            linger_ms=5,
            batch_size=128 << 10,
            max_block_ms=int(1000 * _BLOCK_S),
            request_timeout_ms=int(1000 * _BLOCK_S),
            delivery_timeout_ms=int(1000 * _FLUSH_S),
            metrics_enabled=False,
        )
        self._failed: BaseException | None = None

    def events(self, events: Iterable[Event]) -> None:
        """Send events, keyed by their users."""
        for event in events:
            self._send(self._events, encode(event), event.user_id.encode())

    def videos(self, changes: Iterable[tuple[str, Any]]) -> None:
        """Send videos; None in place of a video withdraws it."""
        for video_id, video in changes:
            self._send(self._videos, None if video is None else encode(video), video_id.encode())

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises:
          ConfigError: the cluster does not answer, or refuses a record.
        """
        try:
            self._producer.flush(timeout=_FLUSH_S)
        except KafkaError as error:
            raise self._sentence(error) from None
        if self._failed is not None:
            raise self._sentence(self._failed)

    def close(self) -> None:
        """Disconnect; what is not acknowledged by then may be lost."""
        with suppress(KafkaError):  # a silent cluster was reported by then
            self._producer.close(timeout=2)

    def _send(self, topic: str, value: bytes | None, key: bytes) -> None:
        if self._failed is not None:
            raise self._sentence(self._failed)
        try:
            self._producer.send(topic, value, key).add_errback(self._note)
        except KafkaError as error:
            raise self._sentence(error) from None

    def _note(self, error: BaseException) -> None:
        self._failed = self._failed or error

    def _sentence(self, error: BaseException) -> ConfigError:
        if said := refusal(self._settings, error):
            return ConfigError(said)
        return ConfigError(f"the cluster at {self._bootstrap} does not take the simulator's records: {error}")


class Inbox:
    """Reads `recommendations` from its end on, in a thread, and keeps the newest slate of each user as bytes.

    Attributes:
      letters: the newest by key; written by the thread alone.
      count: slates that came.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._bootstrap = settings.bootstrap
        topic = Topics(settings).recommendations
        self._consumer = KafkaConsumer(
            **kafka_options(settings),
            group_id=None,
            enable_auto_commit=False,
            check_crcs=False,  # in pure Python that alone would take a tenth of a core
            fetch_max_wait_ms=250,
            max_poll_records=_POLL_RECORDS,
            metrics_enabled=False,
        )
        self._consumer.assign([TopicPartition(topic, number) for number in range(settings.partitions)])
        self._consumer.seek_to_end()
        for tp in self._consumer.assignment():
            self._consumer.position(tp)  # looked up now: nothing that is answered later may be missed
        self.letters: dict[bytes, Letter] = {}
        self.count = 0
        self._failed: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="inbox", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Return while the thread is well.

        Raises:
          ConfigError: it ended; the message says why.
        """
        if self._failed is not None:
            raise ConfigError(f"slates cannot be read from {self._bootstrap}: {self._failed}")

    def close(self) -> None:
        """End the thread and disconnect."""
        self._stop.set()
        self._thread.join(timeout=5)
        with suppress(KafkaError):
            self._consumer.close()

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                found = self._consumer.poll(timeout_ms=250)
                now_ms = self._clock.now_ms()
                for records in found.values():
                    self.count += len(records)
                    for record in records:
                        if record.key and record.value:
                            self.letters[record.key] = Letter(now_ms, record.value)
        except Exception as error:  # whatever it is, the main thread reports it
            self._failed = error
