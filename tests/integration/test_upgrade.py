"""A rolling upgrade on one machine, by the same commands: worker by worker, under load, to another state layout."""

import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from kafka import KafkaProducer

from deploy.scrape import answers
from streams.clock import Clock
from streams.codecs import Decoder, encode
from streams.core.events import Event, EventType, Feedback, Source
from streams.core.layout import LAYOUT, steps_of
from streams.topics import Topics
from tests.conftest import free_ports
from tests.fakes import video
from tests.running import publish, read, read_all, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
USERS, VIDEOS, PER_S = 200, 100, 400  # events a second
NOW_MS = Clock().now_ms()
OLD = "b3be509"  # the first version whose states can be brought up to the present layout
OLD_LAYOUT = 3
#: A command of the code in another folder.
ELSEWHERE = "import os, runpy, sys; os.chdir(sys.argv.pop(1)); runpy.run_module('streams.main', run_name='__main__')"


@pytest.fixture
def old(request, tmp_path):
    """The folder of the code that is upgraded from: --upgrade-from, or `OLD`."""
    ref = request.config.getoption("--upgrade-from") or OLD
    parts = ("streams", "model", "producers", "deploy", "benchmarks")
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", ref, *parts], capture_output=True)
    if packed.returncode:
        pytest.skip(f"the history of this checkout does not reach back to {ref}")
    folder = tmp_path / "old"
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


class Load(threading.Thread):
    """Publishes exposures at an even rate until `end`; `sent` counts them by user."""

    def __init__(self, settings):
        super().__init__()
        self.settings, self.ended, self.sent, self.failed = settings, threading.Event(), Counter(), None

    def run(self):
        try:
            self._publish()
        except Exception as error:
            self.failed = error

    def _publish(self):
        topic, random = Topics(self.settings).events, Random(1)
        with closing(KafkaProducer(bootstrap_servers=self.settings.bootstrap, acks="all")) as producer:
            while not self.ended.wait(10 / PER_S):
                for _ in range(10):
                    user = f"u{random.randrange(USERS)}"
                    self.sent[user] += 1
                    event = Event(
                        event_id=f"{user}-{self.sent[user]}", user_id=user, type=EventType.WATCH, source=Source.LOG,
                        video_id=f"v{random.randrange(VIDEOS)}", event_time_ms=NOW_MS,
                        watch_ms=random.randrange(20_000),
                    )  # fmt: skip
                    producer.send(topic, key=user.encode(), value=encode(event))
            producer.flush(30)

    def end(self):
        self.ended.set()
        self.join()
        assert self.failed is None, self.failed
        return self.sent


def worker(settings, name, port, code=None, **changes):
    """A worker that is ready when its API says so, of this code or of another folder's."""
    spec = worker_spec(settings.model_copy(update=changes), name, http_port=port)
    argv = spec.argv if code is None else (sys.executable, "-c", ELSEWHERE, str(code), *spec.argv[3:])
    return replace(spec, argv=argv, ready=lambda: answers(f"http://127.0.0.1:{port}/readyz"), ready_timeout_s=60)


def test_worker_by_worker_under_load_nothing_is_lost(broker, make_settings, old):
    settings = make_settings(partitions=4, session_timeout_s=6)
    topics, ports = Topics(settings), dict(zip(("w1", "w2"), free_ports(2), strict=True))
    load = Load(settings)
    with running(settings, *(worker(settings, name, port, old) for name, port in ports.items())) as supervisor:
        publish(settings, [video(number, NOW_MS) for number in range(VIDEOS)])
        load.start()
        read(settings, topics.recommendations, lambda found: len(found) > 500)
        upgrade(
            supervisor, worker(settings, "w1", ports["w1"], state_layout=OLD_LAYOUT)
        )  # for w2, which knows no other
        upgrade(supervisor, worker(settings, "w2", ports["w2"]))
        upgrade(supervisor, worker(settings, "w1", ports["w1"]))
        sent = load.end()
        read(settings, topics.recommendations, lambda found: len({one.value for one in found}) >= sent.total())
    decode = Decoder(Feedback)
    feedback = [decode(row.value) for row in read_all(settings, topics.feedback)]
    assert {one.impression_id for one in feedback} == {f"{user}-{n + 1}" for user in sent for n in range(sent[user])}
    states = [(row.key, row.value) for row in read_all(settings, topics.states) if row.value and row.key[:1] == b"u"]
    assert {key[1:].decode(): steps_of(value) for key, value in dict(states).items()} == sent  # applied once, not twice
    assert (states[0][1][0], states[-1][1][0]) == (OLD_LAYOUT, LAYOUT)
    assert read_all(settings, topics.dead_letters) == []


def upgrade(supervisor, spec):
    began = time.monotonic()
    supervisor.stop(spec.name)
    stopped = time.monotonic()
    supervisor.start(spec)
    print(f"{spec.name}: stopped in {stopped - began:.1f} s, ready in {time.monotonic() - stopped:.1f} s")
