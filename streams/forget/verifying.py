"""Looks for a user in everything that an installation keeps, after compaction, and says what remains."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams.config import Settings
from streams.core.erasure import mark_of
from streams.forget import places
from streams.forget.needle import Needle
from streams.forget.topics import Found, compacting, kept_until_ms, nudge, search
from streams.http.directory import partition_of
from streams.pseudonyms import pseudonyms
from streams.topics import Topics, TopicSpec

Say = Callable[[str], None]
COMPACTION_S = 120.0
PAUSE_S = 2.0
TABLE_S = 30.0
WEIGHTS = (
    "what model versions learned from this user before is not unlearned; manifests of later versions count the user "
    "among those left out (freshloop models show)"
)


@dataclass
class Place:
    """Somewhere that was looked into.

    Attributes:
      kind: `changelog`, `table`, `topic`, `log segment` or `file`.
      found: records or mentions.
      until: when the last of them is gone by itself; empty when it never is.
    """

    kind: str
    where: str
    found: int = 0
    until: str = ""
    note: str = ""


@dataclass
class Findings:
    """What was found; `clean` when nothing remains but what is kept by time and says until when."""

    places: list[Place] = field(default_factory=list)
    weights: str = WEIGHTS

    @property
    def clean(self) -> bool:
        """Whether nothing remains that should not."""
        return not any(place.found and not place.until for place in self.places)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return {"clean": self.clean, "places": [asdict(one) for one in self.places], "weights": self.weights}


def verify(settings: Settings, user_id: str, say: Say) -> Findings:
    """Look for a user under its id and its pseudonym.

    Raises:
      ConfigError: the cluster fails.
    """
    inside = pseudonyms(settings)(user_id)
    needle, topics = Needle({user_id, inside}), Topics(settings)
    specs = {spec.name: spec for spec in topics.specs()}
    found = Findings()
    changelog = specs.pop(topics.states)
    erased = search(settings, specs[topics.erasures], Needle({mark_of(inside).hex()})).records > 0
    found.places += _changelog(settings, changelog, needle, erased, say)
    found.places += _tables(settings, inside, needle, say)
    for spec in specs.values():
        say(f"reads {spec.name}")
        found.places.append(_topic(settings, spec, needle))
    say(f"looks through {settings.data_dir}")
    found.places += _files(settings, [changelog, *specs.values()], needle)
    note = "the user is marked as erased" if erased else "nobody asked to forget this user: freshloop forget USER"
    found.places.append(Place("mark", topics.erasures, 0, note=note))
    return found


def _changelog(settings: Settings, spec: TopicSpec, needle: Needle, erased: bool, say: Say) -> list[Place]:
    """Look into the changelog; where the user was erased, have it compacted until the user is gone or time is up."""
    say(f"reads {spec.name}" + ", compacted" * erased)
    if not erased:
        return [Place("changelog", spec.name, search(settings, spec, needle).records)]
    deadline = time.monotonic() + COMPACTION_S
    left = search(settings, spec, needle)
    pieces = _in_segments(settings.data_dir, spec, needle) if not left.records else 1
    with compacting(settings, spec.name):
        while (left.records or pieces) and time.monotonic() < deadline:
            nudge(settings, spec)
            time.sleep(PAUSE_S)
            nudge(settings, spec)
            left = search(settings, spec, needle)
            pieces = _in_segments(settings.data_dir, spec, needle) if not left.records else 1
    note = "" if not left.records else "not withdrawn, or the broker has not compacted yet"
    return [Place("changelog", spec.name, left.records, note=note)]


def _tables(settings: Settings, user_id: str, needle: Needle, say: Say) -> list[Place]:
    found = []
    home = f"p{partition_of(user_id, settings.partitions)}"
    for path in places.stores(settings.data_dir):
        deadline = time.monotonic() + (0.0 if places.compacted(path) else TABLE_S)
        table = _table(path, user_id, needle, home)
        while not table.clean and time.monotonic() < deadline:  # its worker rewrites it within seconds of an erasure
            say(f"waits for the worker that holds {path}")
            time.sleep(PAUSE_S)
            table = _table(path, user_id, needle, home)
        note = (
            "" if table.clean else "its files were not rewritten since; the worker that holds it does so when it runs"
        )
        found.append(Place("table", str(path), table.keys or int(not table.clean), note=note))
    return found


def _table(path: Path, user_id: str, needle: Needle, home: str) -> places.Table:
    table = places.look_into(path, needle, mark_of(user_id))
    return table if path.name == home else replace(table, hidden=0)  # no record of the user ever was in the others


def _topic(settings: Settings, spec: TopicSpec, needle: Needle) -> Place:
    left: Found = search(settings, spec, needle)
    place = Place("topic", spec.name, left.records)
    if left.records and spec.cleanup == "delete":
        at = kept_until_ms(settings, spec.name, left.newest_ms) / 1000
        place.until = datetime.fromtimestamp(at, UTC).isoformat(timespec="minutes")
        place.note = "kept by time"
    return place


def _in_segments(folder: Path, spec: TopicSpec, needle: Needle) -> int:
    return sum(places.in_segment(path, needle) for path in places.segments(folder, spec.name))


def _files(settings: Settings, specs: list[TopicSpec], needle: Needle) -> list[Place]:
    folder = settings.data_dir
    found = []
    for spec in specs:
        if spec.cleanup == "compact" and places.segments(folder, spec.name):
            found.append(Place("log segments", spec.name, _in_segments(folder, spec, needle)))
    logs = [path for path in folder.rglob("broker/logs") if path.is_dir()]
    rest = [Place("file", str(path), count) for path, count in places.other_files(folder, logs, needle)]
    return found + (rest or [Place("files", str(folder))])
