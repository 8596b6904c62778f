"""Delimited files that may be damaged: what can be read is read, what cannot is reported with its line number."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from streams.config import ConfigError

LINE_BYTES = 1 << 20  # a longer line is damage, and is not held in memory
DELIMITERS = ("\t", ",", ";", "|")


class BadLine(ValueError):
    """A line that cannot be used; the message says what is wrong with it."""


class Damage:
    """Counts damaged lines and tells of the first few.

    Args:
      say: gets one sentence for each of the first `shown`; the rest are only counted.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None, shown: int = 10) -> None:
        self._say, self._left = say, shown
        self._told = 0
        self.count = 0

    def note(self, path: Path, line: int, what: str, grave: bool = False) -> None:
        """Count a damaged line; one that is grave is told in any case."""
        self.count += 1
        if self._left > 0 or grave:
            self._left, self._told = self._left - 1, self._told + 1
            self._say(f"{path.name}, line {line}: {what}; it is left out")

    def conclude(self) -> None:
        """Say how many were not told of one by one."""
        if self.count > self._told:
            self._say(f"{self.count - self._told} more damaged lines are left out")


def numbered_lines(path: Path, damage: Damage) -> Iterator[tuple[int, str]]:
    """Yield line numbers, from 1, and lines without their ends; blank lines are left out.

    Compression is told by the first bytes. A compressed file that is cut or damaged ends the reading there, and is
    reported once, with the line.

    Raises:
      ConfigError: the file cannot be opened.
    """
    number = 0
    try:
        with _opened(path) as file:
            while chunk := file.readline(LINE_BYTES):
                number += 1
                if len(chunk) == LINE_BYTES and not chunk.endswith(b"\n"):
                    _skip_line(file)
                    damage.note(path, number, f"longer than {LINE_BYTES} bytes")
                    continue
                try:
                    line = chunk.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    damage.note(path, number, f"not UTF-8 at byte {error.start}")
                    continue
                if line.strip():
                    yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = f"the compressed file is cut or damaged here ({error}), and its rest cannot be read"
        damage.note(path, number + 1, what, grave=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def table(
    path: Path, damage: Damage, needed: tuple[str, ...], delimiter: str | None = None
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield line numbers and rows of a delimited file with a header; a quoted field must not go over a line's end.

    Args:
      needed: columns that the header must have.
      delimiter: None takes the one of `DELIMITERS` that stands most often in the header.
    Raises:
      ConfigError: the file is empty, or its header lacks a column.
    """
    lines = numbered_lines(path, damage)
    first = next(lines, None)
    if first is None:
        raise ConfigError(f"{path} is empty; a header and rows are expected")
    delimiter = delimiter or max(DELIMITERS, key=first[1].count)
    try:
        header = cells(first[1], delimiter)
    except BadLine as error:
        raise ConfigError(f"the header of {path} cannot be read: {error}") from None
    missing = [name for name in needed if name not in header]
    if missing:
        raise ConfigError(f"{path} has no column {missing[0]!r}; its header has {', '.join(header)[:300]}")
    for number, line in lines:
        try:
            row = cells(line, delimiter)
            if len(row) != len(header):
                raise BadLine(f"{len(row)} columns instead of {len(header)}")
        except BadLine as error:
            damage.note(path, number, str(error))
            continue
        yield number, dict(zip(header, row, strict=True))


def header(path: Path, delimiter: str | None = None) -> list[str]:
    """Return the column names of a delimited file.

    Raises:
      ConfigError: the file is empty or cannot be read.
    """
    first = next(numbered_lines(path, Damage()), None)
    if first is None:
        raise ConfigError(f"{path} is empty; a header and rows are expected")
    try:
        return cells(first[1], delimiter or max(DELIMITERS, key=first[1].count))
    except BadLine as error:
        raise ConfigError(f"the header of {path} cannot be read: {error}") from None


def cells(line: str, delimiter: str) -> list[str]:
    """Split a line, honouring quotes.

    Raises:
      BadLine: a quote is not closed.
    """
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadLine(str(error)) from None


def whole(row: Mapping[str, str], name: str, low: int, high: int) -> int:
    """Return a whole number in [low, high] from a row; `5.0` counts as whole.

    Raises:
      BadLine: it is none, or lies outside.
    """
    text = row[name]
    try:
        value = int(text)
    except ValueError:
        real = number(row, name)
        if not real.is_integer():
            raise BadLine(f"{name} is {text[:40]!r}, not a whole number") from None
        value = int(real)
    if not low <= value <= high:
        raise BadLine(f"{name} is {text[:40]}, not within {low} and {high}")
    return value


def number(row: Mapping[str, str], name: str) -> float:
    """Return a finite number from a row.

    Raises:
      BadLine: it is none.
    """
    try:
        value = float(row[name])
    except ValueError:
        raise BadLine(f"{name} is {row[name][:40]!r}, not a number") from None
    if value - value != 0.0:
        raise BadLine(f"{name} is {row[name][:40]}, not a finite number")
    return value


def identity(row: Mapping[str, str], name: str, longest: int = 128) -> str:
    """Return an id of at most `longest` characters from a row.

    Raises:
      BadLine: it is empty or too long.
    """
    text = row[name].strip()
    if not 0 < len(text) <= longest:
        raise BadLine(
            f"{name} is empty" if not text else f"{name} has {len(text)} characters, at most {longest} are used"
        )
    return text


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as plain:
        start = plain.read(2)
        plain.seek(0)
        if start == b"\x1f\x8b":
            with gzip.open(plain, "rb") as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            yield plain


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
        pass
