"""Bytes to records and back: MessagePack out, MessagePack or JSON in, bounded in size and depth."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from streams.core.events import SCHEMA, Record

R = TypeVar("R", bound=Record)

MAX_VALUE_BYTES = 64 * 1024  # an event is ~120 bytes; a larger value is noise or abuse

_encoder = msgspec.msgpack.Encoder()


class BadRecord(ValueError):
    """A value that cannot be decoded or does not validate; `reason` is short, stable and safe to count by.

    Attributes:
      reason: one of `empty`, `too-large`, `not-decodable`, `schema-version`, `invalid`, or a caller's own.
      detail: one bounded sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail[:300]


class _Envelope(msgspec.Struct):
    schema: int = SCHEMA


_envelope = msgspec.msgpack.Decoder(_Envelope)
_envelope_json = msgspec.json.Decoder(_Envelope)


def encode(record: Record) -> bytes:
    """Encode a record as MessagePack."""
    return _encoder.encode(record)


class Decoder(Generic[R]):
    """Decodes values of one record type.

    JSON is recognised by its first non-blank byte (`{`, which no MessagePack map of ours starts with).
    """

    def __init__(self, record_type: type[R]) -> None:
        self._msgpack = msgspec.msgpack.Decoder(record_type)
        self._json = msgspec.json.Decoder(record_type)

    def __call__(self, value: bytes | None) -> R:
        """Return the record in `value`.

        Raises:
          BadRecord: empty, too large, not decodable, of an unknown schema version, or not valid.
        """
        if not value:
            raise BadRecord("empty", "the value is empty")
        if len(value) > MAX_VALUE_BYTES:
            raise BadRecord("too-large", f"{len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
        is_json = value.lstrip()[:1] == b"{"
        try:
            return (self._json if is_json else self._msgpack).decode(value)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._explain(value, is_json, error) from None

    def _explain(self, value: bytes, is_json: bool, error: Exception) -> BadRecord:
        if not isinstance(error, msgspec.ValidationError):
            return BadRecord("not-decodable", f"neither MessagePack nor JSON: {error}")
        try:
            schema = (_envelope_json if is_json else _envelope).decode(value).schema
        except Exception:  # the envelope is only consulted for a better reason
            schema = SCHEMA
        if schema != SCHEMA:
            return BadRecord("schema-version", f"schema {schema}, this version reads {SCHEMA}")
        return BadRecord("invalid", str(error))
