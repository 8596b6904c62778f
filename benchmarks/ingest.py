"""`freshloop bench ingest`: real clips published at a rate while viewers' events come; worker, ingest and broker here.

Two delays are measured: a clip's publication to its vectors in the worker's pool, and event to slate beside it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaProducer

from benchmarks.cluster import environment, load, outputs
from benchmarks.driving import backlog, drive, wait_for, worker
from benchmarks.pipeline import free_port
from deploy.scrape import Samples, quantile, scrape
from streams.codecs import encode
from streams.config import ConfigError, Settings
from streams.core.events import Video
from streams.topics import Topics

PARTITIONS = 4
SETTLE_S = 3.0
WARM_EVENTS = 20_000
_ENDINGS = (".mp4", ".mkv")
_DELAY = "freshloop_published_to_vectors_seconds"


def run(clips: Path, clip_rate: float, rate: float, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its result, ready for JSON.

    Args:
      clips: a folder of clips, published in turn; each time as another file, so that none is found by its hash.
      clip_rate, rate: clips and events per second.
    Raises:
      ConfigError: there are no clips, or a part does not start.
    """
    pool_port, ingest_port = free_port(), free_port()
    with worker("ingest", PARTITIONS, pool_port) as settings:
        files = _copies(clips, settings.data_dir / "bench" / "clips", round(clip_rate * seconds))
        with _ingest(settings, ingest_port):
            _warm_up(settings)
            wait_for(lambda: not _metric(ingest_port, "freshloop_ingest_waiting_videos"), "ingest")
            say(f"{len(files)} clips at {clip_rate:g}/s beside {rate:g} events/s for {seconds:g} s")
            before = _metric(pool_port, f"{_DELAY}_count")
            earlier = (scrape(pool_port) or {}) | (scrape(ingest_port) or {})  # the videos that were there at the start
            found, sent, _ = asyncio.run(drive(settings, rate, seconds, lambda: _publish(settings, files, clip_rate)))
            wait_for(lambda: _metric(pool_port, f"{_DELAY}_count") - before >= len(files), "ingest")
            pool, ingest = _since(earlier, scrape(pool_port)), _since(earlier, scrape(ingest_port))
        shutil.rmtree(files[0].parent)
    late = np.array([one.late_ms for one in found if one.due_s >= SETTLE_S])
    p50, p99 = (round(float(value), 1) for value in np.percentile(late, (50, 99)))
    return {
        **{f"published_to_recommendable_p{q}_s": _rounded(quantile([pool], _DELAY, q / 100)) for q in (50, 99)},
        "event_to_slate_p50_ms": p50, "event_to_slate_p99_ms": p99, "clips": len(files), "clip_rate": clip_rate,
        "event_rate": round(sent / seconds), "slates_watched": len(late),
        "ingest_p50_s": _rounded(quantile([ingest], "freshloop_ingest_seconds", 0.5)),
        "embedded": int(sum(v for (name, labels), v in ingest.items()
                            if name == "freshloop_ingest_videos_total" and ("result", "embedded") in labels)),
    }  # fmt: skip


@contextmanager
def _ingest(settings: Settings, port: int) -> Iterator[None]:
    """Run `freshloop ingest`; it is killed at the end."""
    command = [sys.executable, "-m", "streams.main", "ingest", "--metrics-port", str(port)]
    log = settings.data_dir / "bench" / "ingest.log"
    with open(log, "wb") as out:
        child = subprocess.Popen(command, env=os.environ | environment(settings), stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: scrape(port) is not None, "ingest")
        yield
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def _copies(clips: Path, folder: Path, count: int) -> list[Path]:
    """Return so many files, all different: copies of the clips with a few bytes behind them that decoders pass over."""
    found = sorted(path for path in clips.glob("*") if path.suffix in _ENDINGS)
    if not found:
        raise ConfigError(f"there are no clips in {clips} (--clips); {' and '.join(_ENDINGS)} are published")
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        source = found[number % len(found)]
        words = struct.pack(">Q", number)
        end = struct.pack(">I4s", 16, b"free") + words if source.suffix == ".mp4" else b"\xec\x88" + words
        made.append(folder / f"{number}{source.suffix}")
        made[-1].write_bytes(source.read_bytes() + end)
    return made


def _warm_up(settings: Settings) -> None:
    topics, events = Topics(settings), backlog(WARM_EVENTS)
    load(settings, topics.events, events, settings.partitions)
    with outputs(settings, topics.recommendations, settings.partitions) as counter:
        wait_for(lambda: counter.total() >= len(events))


def _publish(settings: Settings, files: list[Path], rate: float) -> None:
    """Publish a video for each file, evenly."""
    topic, begun = Topics(settings).videos, time.monotonic()
    with closing(KafkaProducer(bootstrap_servers=settings.bootstrap)) as producer:
        for number, path in enumerate(files):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            video = Video(
                video_id=f"clip{number}", author_id=f"a{number % 50}", published_ms=time.time_ns() // 1_000_000,
                title=f"clip number {number}", media=str(path.absolute()),
            )  # fmt: skip
            producer.send(topic, key=video.video_id.encode(), value=encode(video), partition=0)
        producer.flush()


def _since(earlier: Samples, now: Samples | None) -> Samples:
    return {name: value - earlier.get(name, 0.0) for name, value in (now or {}).items()}


def _metric(port: int, name: str) -> float:
    return sum(value for (found, _), value in (scrape(port) or {}).items() if found == name)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
