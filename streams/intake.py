"""Records of the `events` topic to events, to dead letters with the reason and the original bytes, or elsewhere.

`docs/bad-input.md` says what each kind of bad input gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.codecs import MAX_VALUE_BYTES, BadRecord, Decoder
from streams.core.events import Event
from streams.letter_parts import letter_parts
from streams.pseudonyms import is_pseudonym, is_renamed
from streams.publisher import Out
from streams.topics import partition_of_key

RAW_ID = "raw-user-id"  # where pseudonyms are wanted; the letter says where the record is, not whose
TICK = (("freshloop-tick", b"1"),)  # the header of a record that only moves an idle partition's watermark

_decode_event = Decoder(Event)
_decode_packed = msgspec.msgpack.Decoder(Event).decode


@dataclass
class Intake:
    """A decoded batch.

    Attributes:
      events: offset, record timestamp (ms) and event; None for a tick.
      dead: dead letters with their reason.
      strays: good events on the wrong partition, with the right one.
    """

    events: list[tuple[int, int, Event | None]] = field(default_factory=list)
    dead: list[tuple[str, Out]] = field(default_factory=list)
    strays: list[tuple[int, Out]] = field(default_factory=list)


def take_in(records: Sequence[Any], partitions: int = 0, renamed: bool = False) -> Intake:
    """Decode and validate Kafka records, in order.

    Args:
      partitions: of the topic; 0 when keys are not to be looked at for their partition.
      renamed: users must be known by pseudonyms; a record with an id is refused, and its letter holds nothing of it.
    """
    if (whole := _all_good(records, partitions, renamed)) is not None:
        return whole
    intake = Intake()
    for record in records:
        if record.headers and tuple(record.headers) == TICK and not record.value:
            intake.events.append((record.offset, record.timestamp, None))
            continue
        try:
            event = _decode_event(record.value)
            _check_key(record.key, event)
            if renamed and not is_renamed(event):
                raise BadRecord(RAW_ID, "a user is named by its id; producers need FRESHLOOP_PSEUDONYM_KEY")
        except BadRecord as bad:
            intake.dead.append((bad.reason, dead_letter(record, bad)))
        else:
            home = partition_of_key(record.key, partitions) if partitions else record.partition
            if home == record.partition:
                intake.events.append((record.offset, record.timestamp, event))
            else:
                intake.strays.append((home, Out(record.key, record.value, (), record.timestamp)))
    return intake


def _all_good(records: Sequence[Any], partitions: int, renamed: bool) -> Intake | None:
    """Decode a batch in which every record is MessagePack and as it should be; None when one is not."""
    values = [record.value for record in records]
    if not all(values) or max(map(len, values), default=0) > MAX_VALUE_BYTES:
        return None
    try:
        events = [_decode_packed(value) for value in values]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a ValidationError is a DecodeError
        return None
    keys = [record.key for record in records]
    if keys != [event.user_id.encode() for event in events]:
        return None
    if partitions and any(partition_of_key(key, partitions) != records[0].partition for key in keys):
        return None
    if renamed and not all(map(is_renamed, events)):
        return None
    return Intake([(record.offset, record.timestamp, event) for record, event in zip(records, events, strict=True)])


def by_home(strays: Sequence[tuple[int, Out]]) -> dict[int, list[Out]]:
    """Return strays by the partition that they belong to, in order."""
    found: dict[int, list[Out]] = {}
    for home, record in strays:
        found.setdefault(home, []).append(record)
    return found


def condemned(record: Any, renamed: bool = False) -> Intake:
    """Return the intake of a record whose application ended the process again and again: a dead letter."""
    named = renamed and not is_pseudonym((record.key or b"").decode("utf-8", "replace"))
    bad = BadRecord(RAW_ID if named else "crashes", "applying this record ended the worker at least twice")
    return Intake(dead=[(bad.reason, dead_letter(record, bad))])


def dead_letter(record: Any, bad: BadRecord) -> Out:
    """Return the dead letter of a Kafka record: original key and value, and where and why in bounded headers."""
    return Out(*letter_parts(record, bad.reason, bad.detail, bare=bad.reason == RAW_ID))


def _check_key(key: bytes | None, event: Event) -> None:
    if not key:
        raise BadRecord("null-key", "the record has no key; events are keyed by user_id")
    if key != event.user_id.encode():
        raise BadRecord("key-mismatch", "the record's key is not the event's user_id")
