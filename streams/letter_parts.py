"""A dead letter as it is sent: original key and value, and where it was and why it failed in bounded headers."""

from __future__ import annotations

from typing import Any, NamedTuple

MAX_LETTER_BYTES = 880_000  # of the original value; a larger one is cut, and the header `cut` says so
_KEY_BYTES = 1024


class LetterParts(NamedTuple):
    """Key, value and headers of a record of the dead-letters topic."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def letter_parts(record: Any, reason: str, detail: str, bare: bool = False) -> LetterParts:
    """Return the dead letter of a Kafka record; a `bare` one holds nothing of the original."""
    key, value = (None, b"") if bare else (record.key, record.value or b"")
    headers = [
        ("reason", reason.encode()),
        ("detail", detail.encode()),
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
    ]
    if len(value) > MAX_LETTER_BYTES:
        headers.append(("cut", str(len(value)).encode()))
    return LetterParts(key[:_KEY_BYTES] if key else None, value[:MAX_LETTER_BYTES], tuple(headers))
