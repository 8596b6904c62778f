"""Runs real parts for integration tests, and talks to the broker as a client would."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.scrape import scrape
from deploy.supervisor import ChildSpec, Supervisor
from streams.admin import create_topics
from streams.codecs import encode
from streams.config import Settings, environment
from streams.core.events import Event, Video
from streams.topics import Topics
from tests.conftest import free_ports


def worker_spec(settings: Settings, name: str = "w1", restart: str = "never", http_port: int = 0) -> ChildSpec:
    (port,) = free_ports(1)
    command = ("worker", "--name", name, "--metrics-port", str(port), "--http-port", str(http_port))
    argv = (sys.executable, "-m", "streams.main", *command)
    return ChildSpec(
        name, argv, environment(settings), restart=restart, ready=lambda: scrape(port) is not None, stop_timeout_s=30
    )


@contextmanager
def running(settings: Settings, *specs: ChildSpec) -> Iterator[Supervisor]:
    """Create the topics and run parts; their logs are shown when the test fails."""
    create_topics(settings)
    with Supervisor(settings.data_dir / "logs") as supervisor:
        try:
            for spec in specs:
                supervisor.start(spec)
            yield supervisor
        except BaseException:
            for log in sorted(Path(settings.data_dir / "logs").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-4000:]}")
            raise


def publish(settings: Settings, videos: list[Video] = (), events: list[Event] = (), raw: list[dict] = ()) -> None:
    """Send records and wait for their acknowledgement; `raw` are arguments of `KafkaProducer.send`."""
    topics = Topics(settings)
    with closing(KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", max_request_size=2 << 20)) as producer:
        sent = [producer.send(topics.videos, key=v.video_id.encode(), value=encode(v)) for v in videos]
        sent += [producer.send(topics.events, key=e.user_id.encode(), value=encode(e)) for e in events]
        sent += [producer.send(**fields) for fields in raw]
        for future in sent:
            future.get(20)


def read(settings: Settings, topic: str, enough: Callable[[list], bool], timeout_s: float = 30.0) -> list:
    """Return the records of a topic from its beginning, once `enough` of them are there."""
    count = next(spec.partitions for spec in Topics(settings).specs() if spec.name == topic)
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    with closing(consumer):
        consumer.assign([TopicPartition(topic, number) for number in range(count)])
        found: list = []
        deadline = time.monotonic() + timeout_s
        while not enough(found):
            assert time.monotonic() < deadline, f"{topic}: only {len(found)} records after {timeout_s:.0f} s"
            for records in consumer.poll(200).values():
                found += records
        return found


def read_all(settings: Settings, topic: str) -> list:
    """Return all records of a topic as of now."""
    count = next(spec.partitions for spec in Topics(settings).specs() if spec.name == topic)
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(count)]
    with closing(consumer):
        ends = sum(consumer.end_offsets(partitions).values()) - sum(consumer.beginning_offsets(partitions).values())
    return read(settings, topic, lambda found: len(found) >= ends)
