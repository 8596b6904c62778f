"""Dead letters: reading them, and driving the untouched originals again."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer

from streams.config import Settings
from streams.intake import RAW_ID
from streams.reading import read_topic
from streams.security import kafka_options
from streams.topics import Topics

REPLAYED = "freshloop-replayed"  # header of a record that was driven again: the offset of its dead letter


@dataclass(frozen=True)
class Letter:
    """One dead letter.

    Attributes:
      number: its offset in the dead-letters topic, by which it is named.
      at_ms: when it was written.
      topic, partition, offset: of the original record.
      whole: whether the original bytes are all there.
    """

    number: int
    at_ms: int
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    whole: bool
    key: bytes | None
    value: bytes

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON; key and value are base64."""
        bare = {name: value for name, value in self.__dict__.items() if name not in ("key", "value")}
        return bare | {
            "key": None if self.key is None else b64encode(self.key).decode(),
            "value": b64encode(self.value).decode(),
        }


def letter_of(record: Any) -> Letter:
    """Return the letter in a record of the dead-letters topic; what its headers lack is empty."""
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}

    def number(name: str) -> int:
        text = headers.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else -1

    whole = "cut" not in headers and headers.get("reason") != RAW_ID  # of a raw id nothing is kept
    return Letter(
        record.offset, record.timestamp, headers.get("reason", ""), headers.get("detail", ""), headers.get("topic", ""),
        number("partition"), number("offset"), whole, record.key, record.value or b"",
    )  # fmt: skip


def letters(settings: Settings) -> Iterator[Letter]:
    """Yield the letters that are there, oldest first.

    Raises:
      ConfigError: the cluster does not answer.
    """
    return map(letter_of, read_topic(settings, Topics(settings).dead_letters, 1))


def chosen(
    found: Iterator[Letter], reasons: Sequence[str] = (), numbers: Sequence[int] = (), newest: int = 0
) -> list[Letter]:
    """Return letters with one of these reasons and numbers, where given; of them the newest so many, 0 for all."""
    kept = [
        one for one in found if (not reasons or one.reason in reasons) and (not numbers or one.number in set(numbers))
    ]
    return kept[-newest:] if newest else kept


def replay(settings: Settings, wanted: Sequence[Letter]) -> tuple[list[Letter], list[Letter]]:
    """Send originals to their topics again, by their keys; return what was sent and what could not be.

    A letter is not sent when its original was cut, or came from a topic that is not of this installation.
    """
    topics = Topics(settings)
    ours = {topics.events, topics.videos}
    able = [one for one in wanted if one.whole and one.topic in ours]
    producer = KafkaProducer(**kafka_options(settings), acks="all", max_request_size=2 << 20, compression_type=None)
    with closing(producer):
        sent = [
            producer.send(
                one.topic, key=one.key, value=one.value, headers=[(REPLAYED, str(one.number).encode())]
            )
            for one in able
        ]  # fmt: skip
        for future in sent:
            future.get(60)
    return able, [one for one in wanted if not (one.whole and one.topic in ours)]
