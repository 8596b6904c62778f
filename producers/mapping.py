"""The mapping file of a collector: where an API's pages are, and how an item becomes a record."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streams.codecs import BadRecord
from streams.config import ConfigError
from streams.core.erasure import mark_of
from streams.core.events import Event, EventType, Record, Video

_UNITS_MS = {"s": 1000, "ms": 1}


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a field of the record comes from.

    Attributes:
      path: keys joined by dots; `a[].b` takes `b` of every element of `a`.
      value: a constant instead.
      unit: of a time or duration, which becomes milliseconds.
      map: by the API's word, ours; another word makes the item invalid.
    """

    path: str = ""
    value: Any = None
    unit: Literal["s", "ms", ""] = ""
    map: dict[str, Any] = {}


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file. `docs/howto/collect.md` explains each line.

    Attributes:
      name: of the collector; its cursor is kept under it.
      items, cursor, more: paths in an answer; without `more`, an answer without a cursor is the last.
      cursor_param: the parameter that takes the cursor.
      rate: requests per second, at most.
      topic: `profiles` are events too, of that type, whose words `profile` says by field.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}$")]
    topic: Literal["events", "videos", "profiles"]
    url: Annotated[str, Meta(pattern=r"^https?://")]
    items: str
    cursor: str
    fields: dict[str, str | Field]
    method: Literal["GET", "POST"] = "GET"
    cursor_param: str = "cursor"
    more: str = ""
    rate: Annotated[float, Meta(gt=0, le=1000)] = 5.0
    params: dict[str, str | int | float | bool] = {}
    headers: dict[str, str] = {}
    profile: dict[Annotated[str, Meta(pattern="^[^=]+$")], str | Field] = {}

    def __post_init__(self) -> None:
        if bool(self.profile) != (self.topic == "profiles"):
            raise ValueError("a table [profile] and topic 'profiles' come together")
        known = set(self.record_type.__struct_fields__)
        unknown = sorted(set(self.fields) - known)
        if unknown:
            raise ValueError(
                f"fields: {unknown[0]!r} is no field of {self.topic}; there are {', '.join(sorted(known))}"
            )

    @property
    def record_type(self) -> type[Event] | type[Video]:
        """The struct of the topic."""
        return Video if self.topic == "videos" else Event

    @property
    def target(self) -> str:
        """The topic that records go to, as `streams.topics.Topics` calls it."""
        return "videos" if self.topic == "videos" else "events"

    def record(self, item: Any) -> Event | Video:
        """Return the record of an item.

        Raises:
          BadRecord: it lacks what the record needs, or does not validate.
        """
        fields = {name: _value(name, source, item) for name, source in self.fields.items()}
        given = {name: value for name, value in fields.items() if value is not None}
        if self.profile:
            given |= self._profile(item)
        try:
            return msgspec.convert(given, type=self.record_type, strict=False)
        except msgspec.ValidationError as error:
            raise BadRecord("invalid", str(error)) from None

    def _profile(self, item: Any) -> dict[str, Any]:
        """Return what makes an event a profile: its words, and an id that follows from them."""
        words: list[str] = []
        for name, source in self.profile.items():
            found = _value(name, source, item)
            values = found if isinstance(found, list) else [found]
            words += [f"{name}={value}" for value in values if value not in (None, "")]
        digest = hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()
        return {"type": EventType.PROFILE, "event_id": f"{self.name}-{digest[:16]}", "profile": words}


def is_profile(record: Record) -> bool:
    """Tell whether a record says what a user says of itself, in place of what it said before."""
    return isinstance(record, Event) and record.type is EventType.PROFILE


def key_of(record: Record) -> str:
    """Return the key under which a record is published."""
    return record.user_id if isinstance(record, Event) else record.video_id  # type: ignore[attr-defined]


def id_of(record: Record) -> str:
    """Return what makes two records the same; of a profile a hash of the user, as no file shall name one."""
    if isinstance(record, Event) and is_profile(record):
        return mark_of(record.user_id).hex()
    return record.event_id if isinstance(record, Event) else record.video_id  # type: ignore[attr-defined]


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises:
      ConfigError: it is not there, no TOML, or not a mapping; one sentence that names the line's key.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), type=Mapping)
    except OSError as error:
        raise ConfigError(f"the mapping {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"the mapping {path} cannot be used: {error}") from None


def at(path: str, value: Any) -> Any:
    """Return what stands at a path; None where there is nothing."""
    for position, part in enumerate(steps := path.split(".")):
        if part.endswith("[]"):
            listed = value.get(part[:-2]) if isinstance(value, dict) else None
            rest = ".".join(steps[position + 1 :])
            return [at(rest, one) if rest else one for one in listed] if isinstance(listed, list) else None
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _value(name: str, source: str | Field, item: Any) -> Any:
    field = Field(path=source) if isinstance(source, str) else source
    found = at(field.path, item) if field.path else field.value
    if found is None:
        return None
    if field.map:
        if str(found) not in field.map:
            raise BadRecord("invalid", f"{name}: {found!r} is not in the map")
        found = field.map[str(found)]
    if field.unit:
        try:
            return round(float(found) * _UNITS_MS[field.unit])
        except (TypeError, ValueError, OverflowError):
            raise BadRecord("invalid", f"{name}: {found!r} is no time") from None
    return str(found) if isinstance(found, int) and name.endswith("_id") else found
