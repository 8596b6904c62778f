"""Clips from the topic to the pool: vectors, dead letters, what a restart does, and what another content model does."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from deploy.scrape import scrape
from deploy.supervisor import ChildSpec
from model.content.weights import read_weights, write_weights
from producers.clip_studio import clip_of
from streams.codecs import Decoder
from streams.config import environment
from streams.core.content import VideoContent
from streams.letters import letter_of
from streams.topics import Topics
from tests.conftest import free_ports
from tests.fakes import video
from tests.running import publish, read, read_all, running, worker_spec

pytestmark = pytest.mark.integration
decode = Decoder(VideoContent)


def ingest_spec(settings, *more):
    (port,) = free_ports(1)
    argv = (sys.executable, "-m", "streams.main", "ingest", "--metrics-port", str(port), *more)
    return SimpleNamespace(
        port=port,
        spec=ChildSpec("ingest", argv, environment(settings), restart="never", ready=lambda: scrape(port) is not None),
    )


def counted(port, name, **labels):
    return sum(v for (found, had), v in scrape(port).items() if found == name and set(labels.items()) <= set(had))


def newest(settings):
    found = {record.key.decode(): record for record in read_all(settings, Topics(settings).vectors)}
    return {key: decode(record.value) for key, record in found.items() if record.value}


def wait(what, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_clips_become_vectors_in_the_pool(broker, make_settings, tmp_path):
    settings = make_settings()
    topics = Topics(settings)
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.mp4")
        paths[-1].write_bytes(clip_of(np.eye(16)[number], f"a{number}", number).mp4())
    now = time.time_ns() // 1_000_000
    media = [str(paths[0]), str(paths[1]), str(paths[0]), str(tmp_path / "bad.mp4"), ""]
    (tmp_path / "bad.mp4").write_bytes(b"\0" * 5000)
    videos = [
        replace(video(number, published_ms=now), media=where, title="a cat") for number, where in enumerate(media)
    ]
    first, worker = ingest_spec(settings), worker_spec(settings)
    with running(settings, worker, first.spec) as parts:
        in_pool = int(worker.argv[worker.argv.index("--metrics-port") + 1])
        wait(lambda: counted(in_pool, "freshloop_ready") == 1)
        publish(settings, videos=videos)
        wait(lambda: len(newest(settings)) == 5)
        found = newest(settings)
        assert {key for key, one in found.items() if one.frames and one.sound} == {"v0", "v1", "v2"}
        assert all(one.text for one in found.values())
        assert found["v0"].frames == found["v2"].frames != found["v1"].frames
        assert found["v3"].reason
        letters = [letter_of(record) for record in read(settings, topics.dead_letters, bool)]
        assert [(one.reason.split("-")[0], one.topic, one.key) for one in letters] == [("media", topics.videos, b"v3")]
        assert counted(first.port, "freshloop_ingest_videos_total", result="cached") == 1
        wait(lambda: counted(in_pool, "freshloop_published_to_vectors_seconds_count") == 5)
        parts.stop("ingest")

        publish(
            settings, videos=[video(7, published_ms=now)], raw=[{"topic": topics.videos, "key": b"v1", "value": None}]
        )
        again = ingest_spec(settings)
        parts.start(again.spec)
        wait(lambda: newest(settings).keys() == {"v0", "v2", "v3", "v4", "v7"})
        assert counted(again.port, "freshloop_ingest_videos_total") == 1  # the one that was missing
        parts.stop("ingest")

        weights, manifest = read_weights()
        weights["frames.picture.bias"] = weights["frames.picture.bias"] + np.float32(0.1)
        write_weights(tmp_path / "other.safetensors", weights, manifest)
        other = ingest_spec(settings, "--weights", str(tmp_path / "other.safetensors"))
        parts.start(other.spec)
        wait(
            lambda: (
                len({one.version for one in newest(settings).values()}) == 1 and newest(settings)["v0"] != found["v0"]
            )
        )
        assert newest(settings)["v0"].frames != found["v0"].frames
        assert counted(in_pool, "freshloop_pool_videos") == 5  # nothing left the pool meanwhile
        assert len(read_all(settings, topics.dead_letters)) == 1  # its failure was known
