"""Recorded logs in columns, for evaluation: KuaiRand, click sessions and any delimited file of interactions.

Ids become dense indices in order of appearance; the vocabulary grows while a log is read, so that a later file may name
users and items that the first did not. A line that cannot be read is left out and counted.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from streams.config import ConfigError

Ints = NDArray[np.int64]
UNKNOWN = -1  # the surface of an event whose log does not name it


class Vocabulary:
    """Ids to dense indices, in order of appearance."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.index: dict[str, int] = {}
        for one in ids:
            self.add(one)

    def __len__(self) -> int:
        return len(self.index)

    def add(self, identity: str) -> int:
        """Return the index of an id, a new one when it has none."""
        return self.index.setdefault(identity, len(self.index))


@dataclass(frozen=True)
class Log:
    """Events in columns [M], sorted by time, then user, then item.

    Attributes:
      user, item: indices.
      time_ms: of the event; interpolated where the log does not tell (`warm` of KuaiRand).
      positive: bool; the outcome that is predicted: a long view, a click.
      target: bool; whether its rank counts.
      surface: where it was shown, UNKNOWN when not told.
      ratio: float32; playback over duration, capped at 5; 1 or 0 as `positive` where not told.
      rated: bool; False where the outcome says nothing of rates, as only positives of its time were kept.
    """

    user: Ints
    item: Ints
    time_ms: Ints
    positive: NDArray[np.bool_]
    target: NDArray[np.bool_]
    surface: Ints
    ratio: NDArray[np.float32]
    rated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.bool_] | slice) -> Log:
        """Return some of the events."""
        return Log(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Content:
    """What is known of items beforehand: tags, author and music by id, duration. Items beyond have none."""

    tags: Sequence[tuple[str, ...]] = ()
    authors: Sequence[str] = ()
    music: Sequence[str] = ()
    duration_ms: Sequence[int] = ()


@dataclass(frozen=True)
class Before:
    """What a log tells of a user as numbers alone.

    Attributes:
      shown: exposures before the stream; older, older_positive: those of them that are not among the warm-up's rated
        events, and how many of these were positive at least; liked: likes.
    """

    shown: int = 0
    older: int = 0
    older_positive: int = 0
    liked: int = 0


@dataclass
class Dataset:
    """A warm-up and the streams to be judged, in order, over one vocabulary."""

    users: Vocabulary
    items: Vocabulary
    warm: Log
    streams: list[tuple[str, Log]]
    content: Content = field(default_factory=Content)
    filter_seen: bool = True  # items already shown are taken out, and a target shown already is a miss
    surfaces: bool = False
    catalogue: int = 0  # items known before the first event of the stream
    damaged: int = 0
    before: Mapping[int, Before] = field(default_factory=dict)  # by user


def _opened(path: Path) -> IO[str]:
    try:
        if path.suffix == ".gz":
            return cast(IO[str], gzip.open(path, "rt", encoding="utf-8"))
        return path.open(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); name a file that exists") from None


def _rows(path: Path, needed: Sequence[str], delimiter: str) -> Iterator[Mapping[str, str]]:
    with _opened(path) as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise ConfigError(f"{path} has no column {missing[0]}; it has {', '.join(reader.fieldnames or ())[:300]}")
        yield from reader


class _Columns:
    """Events being read."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, bool, bool, int, float, bool]] = []

    def add(
        self,
        user: int,
        item: int,
        time_ms: int,
        positive: bool = True,
        target: bool = True,
        surface: int = UNKNOWN,
        ratio: float = 1.0,
        rated: bool = True,
    ) -> None:
        self.rows.append((user, item, time_ms, positive, target, surface, ratio, rated))

    def log(self) -> Log:
        columns = [np.array(column) for column in zip(*self.rows, strict=True)] or [np.zeros(0)] * 8
        user, item, time_ms = (column.astype(np.int64) for column in columns[:3])
        order = np.lexsort((item, user, time_ms))
        positive, target, surface, ratio, rated = columns[3:]
        return Log(
            user[order], item[order], time_ms[order], positive.astype(bool)[order], target.astype(bool)[order],
            surface.astype(np.int64)[order], ratio.astype(np.float32)[order], rated.astype(bool)[order],
        )  # fmt: skip


# KuaiRand: Gao et al., CIKM 2022.


def kuairand(warm: Path, features: Path, streams: Sequence[Path]) -> Dataset:
    """Read KuaiRand: sequences before the stream, the catalogue, and exposures.

    Views of the warm-up carry no time but the last one's; the others are spread evenly from the first day of the log
    to it, by their place in the history. Those that would lie after the first event of the stream are put just before
    it, in order.

    Raises:
      ConfigError: a file is missing, or lacks a column.
    """
    users, items = Vocabulary(), Vocabulary()
    content = _videos(features, items)
    catalogue = len(items)
    damaged = 0
    logs = []
    for path in streams:
        log, bad = _exposures(path, users, items)
        damaged += bad
        logs.append((path.name, log))
    begins = min((int(log.time_ms[0]) for _, log in logs if len(log)), default=0)
    before: dict[int, Before] = {}
    histories, bad = _histories(warm, users, items, begins, before)
    return Dataset(users, items, histories, logs, content, True, True, catalogue, damaged + bad, before)


def _videos(path: Path, items: Vocabulary) -> Content:
    tags, authors, music, durations = [], [], [], []
    for row in _rows(path, ("video_id", "author_id", "music_id", "video_duration", "tag"), ","):
        if row["video_id"] in items.index:
            continue
        items.add(row["video_id"])
        tags.append(tuple(tag.strip() for tag in (row["tag"] or "").split(",") if tag.strip()))
        authors.append(row["author_id"])
        music.append(row["music_id"])
        durations.append(int(float(row["video_duration"] or 0)))
    return Content(tags, authors, music, durations)


def _exposures(path: Path, users: Vocabulary, items: Vocabulary) -> tuple[Log, int]:
    columns, damaged = _Columns(), 0
    needed = ("user_id", "video_id", "time_ms", "long_view", "play_time_ms", "duration_ms", "tab")
    for row in _rows(path, needed, ","):
        try:
            duration = int(float(row["duration_ms"] or 0))
            ratio = min(5.0, int(row["play_time_ms"]) / duration) if duration > 0 else float(row["long_view"])
            long_view, at, tab = row["long_view"] == "1", int(row["time_ms"]), int(row["tab"])
        except (TypeError, ValueError):
            damaged += 1
            continue
        columns.add(users.add(row["user_id"]), items.add(row["video_id"]), at, long_view, long_view, tab, ratio)
    return columns.log(), damaged


_BEGINS_MS = 1_649_347_200_000  # 8 April 2022, China: the first day of KuaiRand


def _histories(
    path: Path, users: Vocabulary, items: Vocabulary, before_ms: int, before: dict[int, Before]
) -> tuple[Log, int]:
    columns, damaged = _Columns(), 0
    with _opened(path) as file:
        for line in file:
            try:
                row = json.loads(line)
                user, last, total = str(row["user_id"]), int(row["last_time_ms"]), int(row["history_len"])
                watched, long_watched = list(map(str, row["watch_seq"])), list(map(str, row["long_watch_seq"]))
            except (ValueError, KeyError, TypeError):
                damaged += 1
                continue
            recent = set(watched)
            liked = set(long_watched)
            older = [video for video in long_watched if video not in recent]
            unseen = max(0, total - len(watched))
            likes = len(row.get("like_seq") or ())
            before[users.add(user)] = Before(total, unseen, min(unseen, len(older)), likes)
            views = [(video, True, False) for video in older] + [(video, video in liked, True) for video in watched]
            for place, (video, positive, rated) in enumerate(views):
                share = min(1.0, (len(views) - 1 - place) / max(total, len(watched), 1))
                at = round(last - (last - _BEGINS_MS) * share)
                columns.add(
                    users.add(user), items.add(video), min(at, before_ms - 1) if before_ms else at,
                    positive, positive, UNKNOWN, float(positive), rated,
                )  # fmt: skip
    return columns.log(), damaged


# Click sessions (RecSys Challenge 2015) and any other log.


def _by_appearance(logs: Sequence[Log], items: Vocabulary) -> list[Log]:
    """Give items indices in the order in which events first name them, so that those known at a time are the first."""
    appeared = Vocabulary()
    order = [appeared.add(item) for log in logs for item in map(str, log.item.tolist())]
    place = np.array([int(old) for old in appeared.index], np.int64)
    names = list(items.index)
    items.index = {names[old]: new for new, old in enumerate(place.tolist())}
    cuts = np.cumsum([len(log) for log in logs])[:-1]
    return [replace(log, item=item) for log, item in zip(logs, np.split(np.array(order, np.int64), cuts), strict=True)]


def sessions(warm: Path, streams: Sequence[Path]) -> Dataset:
    """Read tab-separated click sessions; the second and later clicks of a session are targets, nothing is filtered."""
    users, items = Vocabulary(), Vocabulary()
    logs, damaged = [], 0
    for number, path in enumerate([warm, *streams]):
        log, bad = _sessions(path, number, users, items)
        damaged += bad
        logs.append((path.name, log))
    read = _by_appearance([log for _, log in logs], items)
    named = [(name, log) for (name, _), log in zip(logs[1:], read[1:], strict=True)]
    catalogue = int(read[0].item.max()) + 1 if len(read[0]) else 0
    return Dataset(users, items, read[0], named, filter_seen=False, catalogue=catalogue, damaged=damaged)


def _sessions(path: Path, number: int, users: Vocabulary, items: Vocabulary) -> tuple[Log, int]:
    columns, damaged = _Columns(), 0
    for row in _rows(path, ("SessionId", "ItemId", "Time"), "\t"):
        try:
            at = round(float(row["Time"]) * 1000)
        except (TypeError, ValueError):
            damaged += 1
            continue
        columns.add(users.add(f"{number}/{row['SessionId']}"), items.add(row["ItemId"]), at)
    log = columns.log()
    _, first = np.unique(log.user, return_index=True)
    log.target[first] = False
    return log, damaged


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a delimited file; empty ones are found by their usual names."""

    user: str = ""
    item: str = ""
    time: str = ""
    value: str = ""
    positive_from: float = 1.0
    delimiter: str = ""


_USUAL = {
    "user": ("user_id", "user", "userid", "session_id", "sessionid", "visitorid"),
    "item": ("item_id", "item", "itemid", "video_id", "videoid", "product_id", "movieid"),
    "time": ("time_ms", "time", "timestamp", "event_time", "datetime"),
}


def interactions(path: Path, streams: Sequence[Path], names: Columns, warm_events: int, filter_seen: bool) -> Dataset:
    """Read delimited files with a header: the first `warm_events` in time are the warm-up, the rest is the stream.

    Raises:
      ConfigError: a file or a column is missing, or the warm-up leaves no stream.
    """
    users, items = Vocabulary(), Vocabulary()
    logs, damaged = [], 0
    for one in [path, *streams]:
        log, bad = _interactions(one, names, users, items)
        damaged += bad
        logs.append((one.name, log))
    logs = list(zip([name for name, _ in logs], _by_appearance([log for _, log in logs], items), strict=True))
    first = logs[0][1]
    cut = len(first) if streams and not warm_events else min(warm_events or len(first) // 2, len(first))
    rest = [] if cut == len(first) else [(path.name, first.take(slice(cut, None)))]
    if not rest and not streams:
        raise ConfigError(f"{path} has {len(first)} events, so --warm-events {cut} leaves nothing to judge; lower it")
    catalogue = int(first.item[:cut].max()) + 1 if cut else 0
    return Dataset(
        users, items, first.take(slice(0, cut)), rest + logs[1:], filter_seen=filter_seen, catalogue=catalogue,
        damaged=damaged,
    )  # fmt: skip


def _interactions(path: Path, names: Columns, users: Vocabulary, items: Vocabulary) -> tuple[Log, int]:
    with _opened(path) as file:
        header = file.readline().rstrip("\r\n")
    delimiter = names.delimiter or max("\t,;|", key=header.count)
    columns = [name.strip().strip('"') for name in header.split(delimiter)]
    user, item, time = (getattr(names, role) or _found(columns, role, path) for role in ("user", "item", "time"))
    needed = [user, item, time] + ([names.value] if names.value else [])
    read, damaged = _Columns(), 0
    for row in _rows(path, needed, delimiter):
        try:
            at = _milliseconds(row[time])
            positive = float(row[names.value]) >= names.positive_from if names.value else True
        except (TypeError, ValueError):
            damaged += 1
            continue
        read.add(users.add(row[user]), items.add(row[item]), at, positive, positive, ratio=float(positive))
    return read.log(), damaged


def _found(columns: Sequence[str], role: str, path: Path) -> str:
    known = {name.lower(): name for name in columns}
    for name in _USUAL[role]:
        if name in known:
            return known[name]
    raise ConfigError(f"no {role} column is known in {path}; say --{role} with one of {', '.join(columns)[:300]}")


def _milliseconds(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        at = datetime.fromisoformat(text.strip())
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    for bound, per_ms in ((1e11, 1e3), (1e14, 1.0), (1e17, 1e-3)):
        if abs(value) < bound:
            return round(value * per_ms)
    return round(value * 1e-6)
