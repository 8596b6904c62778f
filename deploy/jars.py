"""Kafka's jars: resolved by coordinate into the user's Maven cache, and checked before Java sees them."""

from __future__ import annotations

import fcntl
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import requests
from jgo.config import GlobalSettings
from jgo.maven import MavenContext
from jgo.parse import Coordinate

from streams.config import ConfigError

KAFKA = "4.3.1"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}",
    "org.slf4j:slf4j-simple:1.7.36",  # Kafka's own dependencies hold no slf4j binding: without one it fails in silence
)

Say = Callable[[str], None]


class JarError(ConfigError):
    """Kafka's jars cannot be had; the message is one sentence that says what to do."""


def classpath(say: Say) -> list[Path]:
    """Return the jars that Kafka needs, downloading what the Maven cache lacks.

    A damaged jar is removed and downloaded again, once.

    Args:
      say: gets a sentence when a download begins.
    Raises:
      JarError: no network, no space, or a jar that stays damaged.
    """
    cache = _repository()
    jars = _cached(cache)
    damaged = [jar for jar in jars if not is_readable(jar)]
    if jars and not damaged:
        return jars
    with _locked(cache):
        for jar in damaged:
            say(f"{jar.name} is damaged and is downloaded again")
            jar.unlink(missing_ok=True)
        jars = _cached(cache) or _download(cache, say)
    for jar in jars:
        if not is_readable(jar, deep=True):
            raise JarError(f"{jar.name} is damaged after a second download; remove {jar.parent} and try again")
    return jars


def remove_damaged(jars: list[Path]) -> list[Path]:
    """Read every byte of the jars, remove those with a wrong checksum inside, and return them."""
    damaged = [jar for jar in jars if not is_readable(jar, deep=True)]
    for jar in damaged:
        jar.unlink(missing_ok=True)
    return damaged


def is_readable(jar: Path, deep: bool = False) -> bool:
    """Tell whether `jar` is a whole zip file; `deep` also compares the checksum of every member."""
    try:
        with zipfile.ZipFile(jar) as archive:
            return not deep or archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError):
        return False


def _repository() -> Path:
    return Path(GlobalSettings.load().repo_cache).expanduser()


def _resolve(context: MavenContext) -> list[Path]:
    wanted = [context.create_dependency(Coordinate.parse(text)) for text in COORDINATES]
    direct, transitive = context.resolver.resolve(wanted)
    needed = [*direct, *(one for one in transitive if one.scope in ("compile", "runtime"))]
    return [Path(one.artifact.resolve()) for one in needed]


def _cached(cache: Path) -> list[Path]:
    """Return the jars if all are in the cache, else an empty list; the network is not touched."""
    try:
        return _resolve(MavenContext(repo_cache=cache, offline=True))
    except (RuntimeError, ValueError, OSError, ElementTree.ParseError):
        return []


def _download(cache: Path, say: Say) -> list[Path]:
    say(f"downloading Apache Kafka {KAFKA} (45 MB, once) into {cache}")
    try:
        return _resolve(MavenContext(repo_cache=cache, timeout=30))
    except requests.RequestException as error:
        reason = type(error).__name__
        raise JarError(
            f"Apache Kafka {KAFKA} cannot be downloaded ({reason}); check the network and run the command again, "
            "or set FRESHLOOP_BROKERS to a cluster that runs"
        ) from None
    except ElementTree.ParseError:
        raise JarError(f"{_damaged_pom(cache)} is damaged; remove that folder and run the command again") from None
    except OSError as error:
        raise JarError(f"Apache Kafka cannot be stored in {cache}: {error.strerror}") from None
    except (RuntimeError, ValueError) as error:
        first = (str(error).splitlines() or ["no reason given"])[0]
        raise JarError(f"Apache Kafka {KAFKA} cannot be downloaded: {first[:200]}") from None


def _damaged_pom(cache: Path) -> Path:
    for pom in sorted(cache.rglob("*.pom")):
        try:
            ElementTree.parse(pom)
        except (ElementTree.ParseError, OSError):
            return pom.parent
    return cache / "org" / "apache" / "kafka"


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Hold a lock beside the cache: two downloads of one jar would spoil each other."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".freshloop.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise JarError(f"Apache Kafka cannot be stored in {cache}: {error.strerror}") from None
