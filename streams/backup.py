"""A backup of what Freshloop knows: user states, models and videos in one file, and back into empty topics.

A restored state begins anew on its cluster: offsets of the old topics mean nothing there, so the state's last offset,
the slates it remembers and its open impressions are left out; what the user likes and has seen stays. The partition
count may be another, which makes this also the way to change it.

The file: gzip over frames of a little-endian length and that many bytes of MessagePack. The first frame is `Head`, then
come (topic, key, value), and the last is `Tail` with a hash of everything before it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import rocksdb
from aiokafka.partitioner import murmur2
from kafka import KafkaProducer
from kafka.errors import KafkaError

from streams.config import ConfigError, Settings
from streams.core.layout import LAYOUT, StateError, pack_chunk, seen_of_chunk
from streams.core.migration import relocated
from streams.reading import read_topic
from streams.security import kafka_options
from streams.topics import Topics

FORMAT = 1
FLUSH_S = 60.0
_SIZE = struct.Struct("<I")
_LARGEST = 4 << 20


class Head(msgspec.Struct, frozen=True, tag="head"):
    """What the file is."""

    format: int
    layout: int
    made_ms: int


class Row(msgspec.Struct, frozen=True, tag="row", array_like=True, gc=False):
    """One record; `topic` is `states`, `models` or `videos`."""

    topic: str
    key: bytes
    value: bytes


class Tail(msgspec.Struct, frozen=True, tag="tail"):
    """The end: how many rows there are, and the SHA-256 of all frames before this one."""

    rows: int
    sha256: str


_decode = msgspec.msgpack.Decoder(Head | Tail)
_decode_row = msgspec.msgpack.Decoder(Row)


def kept(settings: Settings) -> dict[str, tuple[str, int]]:
    """Return topic and partition count of what a backup holds, by its name in the file."""
    topics = Topics(settings)
    return {
        "states": (topics.states, settings.partitions),
        "models": (topics.models, 1),
        "videos": (topics.videos, 1),
    }


def save(settings: Settings, path: Path, now_ms: int, say: Callable[[str], None]) -> dict[str, int]:
    """Write a backup, of running workers too; return the number of rows by topic. `path` appears when it is whole.

    Raises:
      ConfigError: the cluster does not answer, or the file cannot be written.
    """
    hidden = path.with_name(f".{path.name}.part")
    try:
        with tempfile.TemporaryDirectory(dir=path.absolute().parent) as folder:
            newest = rocksdb.DB(f"{folder}/newest", rocksdb.Options(create_if_missing=True))
            try:
                for name, (topic, partitions) in kept(settings).items():
                    say(f"reading {topic}")
                    for key, value in read_all(settings, topic, partitions):
                        _put(newest, name, key, value)
                with hidden.open("wb") as file:
                    counts = write(file, _rows(newest), now_ms)
                    os.fsync(file.fileno())
            finally:
                newest.close()
        os.replace(hidden, path)
    except OSError as error:
        hidden.unlink(missing_ok=True)
        raise ConfigError(f"the backup {path} cannot be written: {error.strerror}") from None
    return counts


def _put(newest: Any, name: str, key: bytes, value: bytes | None) -> None:
    if name == "states" and key[:1] not in (b"u", b"s"):
        return  # progress and owners are of this cluster
    at = name.encode() + b"/" + key
    if value:
        newest.put(at, value)
    else:
        newest.delete(at)


def _rows(newest: Any) -> Iterator[Row]:
    iterator = newest.iteritems()
    iterator.seek_to_first()
    try:
        for at, value in iterator:
            name, _, key = at.partition(b"/")
            yield Row(name.decode(), key, value)
    finally:
        del iterator  # RocksDB must not be closed under a living iterator


def write(file: BinaryIO, rows: Iterable[Row], now_ms: int) -> dict[str, int]:
    """Write rows as a backup; return their number by topic."""
    counts: Counter[str] = Counter()
    digest = hashlib.sha256()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as out:

        def frame(value: Any) -> None:
            data = msgspec.msgpack.encode(value)
            data = _SIZE.pack(len(data)) + data
            digest.update(data)
            out.write(data)

        frame(Head(FORMAT, LAYOUT, now_ms))
        for row in rows:
            frame(row)
            counts[row.topic] += 1
        frame(Tail(counts.total(), digest.hexdigest()))
    return dict(counts)


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a backup; its end is only reached when the file is whole and sound.

    Raises:
      ConfigError: it is no backup, of another format, cut or changed.
    """
    digest, count = hashlib.sha256(), 0
    try:
        with gzip.open(path, "rb") as file:
            head = _decode.decode(_frame(cast(BinaryIO, file), digest))
            if not isinstance(head, Head) or head.format != FORMAT:
                raise ConfigError(f"{path} is no backup that this version reads")
            while True:
                before = digest.hexdigest()
                data = _frame(cast(BinaryIO, file), digest)
                if data[:1] != b"\x94":  # an array of four: the tag, and a row
                    tail = _decode.decode(data)
                    if tail != Tail(count, before) or file.read(1):
                        raise ConfigError(f"the backup {path} is damaged: its hash or its number of rows is another")
                    return
                count += 1
                yield _decode_row.decode(data)
    except OSError as error:  # what gzip says of a file that is none, too
        raise ConfigError(f"the backup {path} cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error, msgspec.DecodeError, UnicodeDecodeError, struct.error):
        raise ConfigError(f"the backup {path} is damaged: it ends too early or holds what is no row") from None


def _frame(file: BinaryIO, digest: Any) -> bytes:
    size = file.read(_SIZE.size)
    (length,) = _SIZE.unpack(size)
    data = file.read(min(length, _LARGEST))
    if len(data) != length:
        raise EOFError
    digest.update(size + data)
    return data


def restore(settings: Settings, path: Path, say: Callable[[str], None]) -> dict[str, int]:
    """Publish a backup into topics that hold nothing yet; return the number of rows by topic.

    Raises:
      ConfigError: the file is not sound (then nothing is published), a topic is not empty, or the cluster refuses.
    """
    say(f"checking {path}")
    for _ in rows_of(path):
        pass
    for topic, partitions in kept(settings).values():
        if any(key[:1] != b"o" for key, _ in read_all(settings, topic, partitions)):
            raise ConfigError(
                f"topic {topic} is not empty: restore into new topics, with another FRESHLOOP_TOPIC_PREFIX or, for the "
                f"states alone, another FRESHLOOP_APP_ID"
            )
    say("publishing")
    counts: Counter[str] = Counter()
    topics, failed = kept(settings), _Failure()
    try:
        producer = KafkaProducer(
            **kafka_options(settings), acks="all", enable_idempotence=True, linger_ms=20,
            max_request_size=_LARGEST, metrics_enabled=False,
        )  # fmt: skip
        with closing(producer):
            for row in rows_of(path):
                topic, partitions = topics[row.topic]
                value = moved(row) if row.topic == "states" else row.value
                failed.check()
                producer.send(topic, value, row.key, partition=place_of(row, partitions)).add_errback(failed.note)
                counts[row.topic] += 1
            producer.flush(timeout=FLUSH_S)
            failed.check()
    except KafkaError as error:
        raise ConfigError(f"the cluster at {settings.bootstrap} does not take the backup: {error}") from None
    return dict(counts)


class _Failure:
    """The first record that was refused."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def note(self, error: BaseException) -> None:
        """Remember it; called by the producer's thread."""
        self._error = self._error or error

    def check(self) -> None:
        """Raise it, when there is one."""
        if self._error is not None:
            raise self._error


def place_of(row: Row, partitions: int) -> int:
    """Return the partition of a row among so many: that of its user."""
    if row.topic != "states":
        return 0
    user = row.key[1:] if row.key[:1] == b"u" else row.key[1:-1]
    return int((murmur2(user) & 0x7FFFFFFF) % partitions)


def moved(row: Row) -> bytes:
    """Return the value of a state or of a chunk of seen videos as it begins on another cluster.

    Raises:
      ConfigError: it is of a layout that this version does not read.
    """
    try:
        return relocated(row.value) if row.key[:1] == b"u" else pack_chunk(-1, seen_of_chunk(row.value))
    except StateError as error:
        raise ConfigError(f"a state of the backup cannot be used: {error}") from None


def read_all(settings: Settings, topic: str, partitions: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Return key and value of every record that a topic holds as of now.

    Raises:
      ConfigError: the cluster does not answer.
    """
    return ((record.key or b"", record.value) for record in read_topic(settings, topic, partitions))
