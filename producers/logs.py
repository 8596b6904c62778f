"""Recorded logs as typed rows, and rows as records of the stream: pure readers for replay and evaluation.

Formats: `kuairand` (KuaiRand-Pure, Gao et al., CIKM 2022) and `interactions` (any delimited file with a header). A
damaged line is reported through `Damage` and left out; the rest is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, Protocol

from producers.lines import BadLine, Damage, header, identity, number, numbered_lines, table, whole
from streams.config import ConfigError
from streams.core.events import Event, EventType, Source, Video

DAY_MS = 86_400_000
LAST_MS = 4_102_444_800_000  # the bound of `TimeMs`
_UPLOAD_ZONE = timezone(timedelta(hours=8))  # KuaiRand's dates are Chinese ones

TimeUnit = Literal["auto", "s", "ms", "us", "ns", "iso"]
_PER_MS = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}


class RecordedLog(Protocol):
    """What a replay needs of a log. Both may be read several times and give the same each time."""

    def events(self, run: str, damage: Damage) -> Iterator[Event]:
        """Yield the events in the order of the log; their ids are `run`, a dash and the row's number."""
        ...

    def videos(self, damage: Damage) -> Iterator[Video]:
        """Yield the catalogue."""
        ...


def event_id(run: str, number: int) -> str:
    """Return the id of the event that row `number` makes in a run."""
    return f"{run}-{number}"


def event_number(run: str, identity: str) -> int | None:
    """Return the row number in an event's id, None when the event is not of that run."""
    name, dash, digits = identity.rpartition("-")
    return int(digits) if dash and name == run and digits.isdecimal() else None


_ACTIONS = {
    "is_like": EventType.LIKE,
    "is_follow": EventType.FOLLOW,
    "is_comment": EventType.COMMENT,
    "is_forward": EventType.SHARE,
    "is_hate": EventType.HIDE,
}
_STREAM_COLUMNS = ("user_id", "video_id", "time_ms", "long_view", "play_time_ms", "duration_ms", "tab", *_ACTIONS)
_VIDEO_COLUMNS = ("video_id", "author_id", "upload_dt", "video_duration", "music_id", "tag")


@dataclass(frozen=True, slots=True)
class Exposure:
    """One row of a KuaiRand stream file.

    Attributes:
      number: of the row; its line in the file, counted on over several files.
      play_ms: playback, raw: it may exceed the duration.
      duration_ms: 0 when not known.
      long_view: played for at least min(duration, 18 s).
      tab: the surface of the request.
      actions: what the viewer did besides watching.
    """

    number: int
    user_id: str
    video_id: str
    time_ms: int
    play_ms: int
    duration_ms: int
    long_view: bool
    tab: int
    actions: tuple[EventType, ...]


@dataclass(frozen=True, slots=True)
class History:
    """A user's views before the stream begins, oldest first; video ids."""

    user_id: str
    last_time_ms: int
    watched: tuple[str, ...]
    liked: tuple[str, ...]
    long_watched: tuple[str, ...]


def exposure_event(row: Exposure, run: str) -> Event:
    """Return the event of an exposure: impression, playback and actions in one."""
    return Event(
        event_id=event_id(run, row.number),
        user_id=row.user_id,
        type=EventType.WATCH,
        event_time_ms=row.time_ms,
        video_id=row.video_id,
        watch_ms=row.play_ms,
        duration_ms=row.duration_ms or None,
        actions=row.actions,
        source=Source.LOG,
    )


@dataclass(frozen=True)
class KuairandLog:
    """KuaiRand-Pure in a folder: `stream_*.csv.gz`, `video_features_basic_pure.csv`, `warm_sequences_*.jsonl.gz`."""

    folder: Path
    latest_ms: int = LAST_MS  # an exposure after it is damage: a clock was wrong

    def exposures(self, damage: Damage) -> Iterator[Exposure]:
        """Yield the exposures of all stream files, by file name.

        Raises:
          ConfigError: there is no such file, or it lacks a column.
        """
        before = 0
        for path in self._files("stream_*.csv*"):
            line = 0
            for line, row in table(path, damage, _STREAM_COLUMNS):
                try:
                    exposure = _exposure(row, before + line, self.latest_ms)
                except BadLine as error:
                    damage.note(path, line, str(error))
                else:
                    yield exposure
            before += line

    def events(self, run: str, damage: Damage) -> Iterator[Event]:
        """Yield an event for each exposure."""
        return (exposure_event(row, run) for row in self.exposures(damage))

    def videos(self, damage: Damage) -> Iterator[Video]:
        """Yield the videos of the features file; they count as published when their upload day begins."""
        path = self._files("video_features_basic*.csv*")[0]
        for line, row in table(path, damage, _VIDEO_COLUMNS):
            try:
                video = _video(row)
            except BadLine as error:
                damage.note(path, line, str(error))
            else:
                yield video

    def histories(self, damage: Damage) -> Iterator[History]:
        """Yield the users' histories from before the stream."""
        path = self._files("warm_sequences_*.jsonl*")[0]
        for line, text in numbered_lines(path, damage):
            try:
                history = _history(text)
            except BadLine as error:
                damage.note(path, line, str(error))
            else:
                yield history

    def _files(self, pattern: str) -> Sequence[Path]:
        found = sorted(self.folder.glob(pattern))
        if not found:
            raise ConfigError(
                f"{self.folder} has no {pattern}; name the folder of KuaiRand-Pure, or set FRESHLOOP_DATA"
            )
        return found


def _exposure(row: Any, line: int, latest_ms: int) -> Exposure:
    return Exposure(
        number=line,
        user_id=identity(row, "user_id"),
        video_id=identity(row, "video_id"),
        time_ms=whole(row, "time_ms", 0, latest_ms),
        play_ms=whole(row, "play_time_ms", 0, DAY_MS),
        duration_ms=whole(row, "duration_ms", 0, DAY_MS),
        long_view=bool(whole(row, "long_view", 0, 1)),
        tab=whole(row, "tab", -1, 10_000),
        actions=tuple(action for name, action in _ACTIONS.items() if whole(row, name, 0, 1)),
    )


def _video(row: Any) -> Video:
    try:
        uploaded = datetime.fromisoformat(row["upload_dt"]).replace(tzinfo=_UPLOAD_ZONE)
    except ValueError:
        raise BadLine(f"upload_dt is {row['upload_dt'][:40]!r}, not a date") from None
    tags = tuple(tag.strip() for tag in row["tag"].split(",") if tag.strip())
    if len(tags) > 32 or any(len(tag) > 64 for tag in tags):
        raise BadLine("tag has more than 32 tags or one of more than 64 characters")
    return Video(
        video_id=identity(row, "video_id"),
        author_id=identity(row, "author_id"),
        published_ms=_in_range(uploaded.timestamp() * 1000, "upload_dt"),
        duration_ms=whole(row, "video_duration", 0, DAY_MS) if row["video_duration"] else 0,
        tags=tags,
        music_id="" if row["music_id"] in ("", "0") else identity(row, "music_id", 64),
    )


def _history(text: str) -> History:
    try:
        row = json.loads(text)
        watched, liked, long_watched = (
            tuple(str(int(video)) for video in row[name]) for name in ("watch_seq", "like_seq", "long_watch_seq")
        )
        return History(str(row["user_id"]), int(row["last_time_ms"]), watched, liked, long_watched)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadLine(f"not a history: {type(error).__name__}: {error}"[:200]) from None


_USER_NAMES = ("user_id", "user", "userid", "session_id", "sessionid", "visitorid")
_ITEM_NAMES = ("item_id", "item", "itemid", "video_id", "videoid", "product_id", "movieid")
_TIME_NAMES = ("time_ms", "time", "timestamp", "event_time", "datetime")


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row of a generic log. `value` is None when no such column was named."""

    number: int
    user_id: str
    item_id: str
    time_ms: int
    value: float | None


@dataclass(frozen=True)
class InteractionsLog:
    """A delimited file with a header; columns that are not named are found by their usual names.

    Without a value column every interaction counts as liked; with one, those at or above `liked_from` do.
    """

    path: Path
    user: str = ""
    item: str = ""
    time: str = ""
    value: str = ""
    delimiter: str = ""  # empty: the one that stands most often in the header
    time_unit: TimeUnit = "auto"  # auto: told by the first row that can be read
    liked_from: float = 1.0
    latest_ms: int = LAST_MS  # an interaction after it is damage: a clock was wrong

    def rows(self, damage: Damage) -> Iterator[Interaction]:
        """Yield the interactions in the order of the file.

        Raises:
          ConfigError: a column is missing.
        """
        names = header(self.path, self.delimiter or None)
        user = _column(names, self.user, _USER_NAMES, "user", self.path)
        item = _column(names, self.item, _ITEM_NAMES, "item", self.path)
        time = _column(names, self.time, _TIME_NAMES, "time", self.path)
        needed = (user, item, time, *([self.value] if self.value else []))
        unit = self.time_unit
        for line, row in table(self.path, damage, needed, self.delimiter or None):
            try:
                if unit == "auto":
                    unit = detect_unit(row[time])
                value = number(row, self.value) if self.value else None
                at = _time_ms(row[time], unit, time)
                if at > self.latest_ms:
                    raise BadLine(f"{time} is {row[time][:40]}, in the future")
                yield Interaction(line, identity(row, user), identity(row, item), at, value)
            except BadLine as error:
                damage.note(self.path, line, str(error))

    def events(self, run: str, damage: Damage) -> Iterator[Event]:
        """Yield an event for each interaction."""
        for row in self.rows(damage):
            liked = row.value is None or row.value >= self.liked_from
            yield Event(
                event_id=event_id(run, row.number),
                user_id=row.user_id,
                type=EventType.LIKE if liked else EventType.WATCH,
                event_time_ms=row.time_ms,
                video_id=row.item_id,
                source=Source.LOG,
            )

    def videos(self, damage: Damage) -> Iterator[Video]:
        """Yield the items of the log; each counts as published when it is first seen, by an author of its own."""
        first: dict[str, int] = {}
        for row in self.rows(damage):
            first[row.item_id] = min(row.time_ms, first.get(row.item_id, row.time_ms))
        for item, at in first.items():
            yield Video(video_id=item, author_id=item, published_ms=at)


def detect_unit(text: str) -> TimeUnit:
    """Return the unit of a point in time, by its magnitude: all units then mean the years 1973 to 5138.

    Raises:
      BadLine: it is neither a number nor an ISO 8601 time.
    """
    try:
        value = abs(float(text))
    except ValueError:
        _iso_ms(text, "time")
        return "iso"
    bounds: tuple[tuple[float, TimeUnit], ...] = ((1e11, "s"), (1e14, "ms"), (1e17, "us"))
    return next((unit for bound, unit in bounds if value < bound), "ns")


def _column(names: list[str], asked: str, usual: tuple[str, ...], role: str, path: Path) -> str:
    if asked:
        return asked
    known = {name.strip().lower(): name for name in names}
    for name in usual:
        if name in known:
            return known[name]
    raise ConfigError(f"no {role} column is known in {path}; say --{role} with one of {', '.join(names)[:300]}")


def _time_ms(text: str, unit: TimeUnit, name: str) -> int:
    if unit == "iso":
        return _iso_ms(text, name)
    return _in_range(number({name: text}, name) / _PER_MS[unit], name)


def _iso_ms(text: str, name: str) -> int:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadLine(f"{name} is {text[:40]!r}, neither a number nor an ISO 8601 time") from None
    return _in_range((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000, name)


def _in_range(milliseconds: float, name: str) -> int:
    if not 0 <= milliseconds <= LAST_MS:
        raise BadLine(f"{name} is outside the years 1970 to 2100")
    return round(milliseconds)
