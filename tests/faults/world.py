"""Topics, workers and load of one scenario."""

from __future__ import annotations

import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.scrape import scrape
from deploy.supervisor import ChildSpec, Supervisor
from model.config import model_config
from model.publish import Piece
from streams.admin import create_topics, require_topics
from streams.codecs import Decoder, encode
from streams.config import Settings, load_settings
from streams.core.content import SIZES, VideoContent, encoded_half
from streams.http.directory import Announcement
from streams.topics import Topics
from tests.conftest import free_ports
from tests.fakes import video
from tests.faults.load import Load
from tests.faults.outcome import Outcome, Tail, Tally
from tests.running import environment, publish, worker_spec
from tests.versions import pieces, serve

VIDEOS = 60
PATIENCE_S = 150.0  # a machine may be busy; what has a limit of its own is measured against that
announcement_of = Decoder(Announcement)


class World:
    """One scenario's topics, workers and load.

    Attributes:
      deaths: ends of workers that no fault of the scenario explains.
      more_to_come: further faults follow, so nothing is compared yet.
      mutant: a guard that scenarios take out of their workers; broker: settings of the embedded broker.
    """

    def __init__(self, settings: Settings, supervisor: Supervisor, seed: int, users: int = 80) -> None:
        self.settings, self.supervisor = settings, supervisor
        create_topics(settings)
        self.topics, self.ids = Topics(settings), require_topics(settings)
        publish(settings, videos=[video(number, published_ms=_now_ms() - 1000 - number) for number in range(VIDEOS)])
        prefix = f"{self.ids[self.topics.events][:8]}-"
        self.load = Load(settings, prefix, users, VIDEOS, seed)
        self.outcome = Outcome(settings, self.ids[self.topics.events])
        self._announced = Tail(settings, self.topics.workers)
        self._owner_of: dict[bytes, str] = {}
        self._specs: dict[str, ChildSpec] = {}
        self.mutant, self.broker = "", settings
        self.more_to_come = False
        self.deaths = 0

    # -- workers ----------------------------------------------------------------------------------------------------

    def start(self, name: str = "w1", failpoint: str = "", mutant: str = "") -> None:
        """Start a worker, without waiting for it."""
        spec = worker_spec(self.settings.model_copy(update={"failpoint": failpoint}), name)
        argv = spec.argv
        if mutant:
            argv = (sys.executable, "-m", "tests.faults.mutant", mutant, *spec.argv[3:])
        self._specs[name] = replace(spec, argv=argv, ready=None)
        self.supervisor.start(self._specs[name])

    def running(self, name: str = "w1") -> bool:
        """Tell whether a worker runs."""
        return name in self.supervisor.running()

    def kill(self, name: str = "w1", sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill a worker and wait for its end; nothing when it has ended."""
        if self.running(name):
            self.supervisor.kill(name, sig)
        self.await_end(name)

    def await_end(self, name: str = "w1", timeout_s: float = PATIENCE_S) -> None:
        """Wait until a worker has ended."""
        deadline = time.monotonic() + timeout_s
        while self.running(name):
            assert time.monotonic() < deadline, f"{name} runs still after {timeout_s:.0f} s"
            self.supervisor.poll(0.05)
        self.supervisor.poll(0.05)

    def stop(self, name: str = "w1") -> None:
        """Stop a worker cleanly."""
        self.supervisor.stop(name)

    def stop_or_end(self, name: str = "w1") -> None:
        """Stop a worker that may have ended by itself."""
        if self.running(name):
            self.kill(name, signal.SIGTERM)

    def folder(self, name: str = "w1") -> Path:
        """Return where a worker keeps its states."""
        return self.settings.data_dir / "workers" / name / self.settings.app_id / self.ids[self.topics.states]

    def wipe(self, name: str = "w1") -> None:
        """Remove a worker's data."""
        shutil.rmtree(self.settings.data_dir / "workers" / name, ignore_errors=True)

    def await_ready(self, name: str = "w1", timeout_s: float = PATIENCE_S) -> None:
        """Wait until a worker has recovered its partitions; one that ends by itself counts as a death."""
        deadline = time.monotonic() + timeout_s
        while (scrape(self._port(name)) or {}).get(("freshloop_ready", ())) != 1.0:
            assert time.monotonic() < deadline, f"{name} is not ready after {timeout_s:.0f} s"
            self._look_after()
            time.sleep(0.1)

    def await_owner(self, name: str, timeout_s: float) -> None:
        """Wait until a worker that is ready owns all partitions.

        Raises:
          AssertionError: it does not within the time.
        """
        deadline = time.monotonic() + timeout_s
        while self._owners() != {name}:
            assert time.monotonic() < deadline, f"{name} has not taken over after {timeout_s:.1f} s"
            time.sleep(0.1)

    def _owners(self) -> set[str]:
        """Return who announced each partition last."""
        for record in self._announced.read()[0]:
            self._owner_of[record.key] = announcement_of(record.value).worker
        return set(self._owner_of.values()) if len(self._owner_of) == self.settings.partitions else set()

    def publish_model(self, version: int) -> None:
        """Publish a version and put it into service."""
        self.send_models([*pieces(version, model_config(self.settings)), serve(version, version)])

    def send_models(self, records: Sequence[Piece]) -> None:
        """Publish records of versions."""
        self._send(self.topics.models, records)

    def start_trainer(self) -> None:
        """Start a trainer, without waiting for it."""
        argv = (sys.executable, "-m", "streams.main", "trainer", "--metrics-port", str(free_ports(1)[0]))
        self.supervisor.start(ChildSpec("trainer", argv, environment(self.settings), restart="never"))

    def metric(self, name: str, worker: str = "w1") -> float:
        """Return a metric of a worker, summed over its labels."""
        samples = scrape(self._port(worker)) or {}
        return sum(value for (found, _), value in samples.items() if found == name)

    def publish_videos(self, numbers: Sequence[int], withdrawn: Sequence[int] = ()) -> None:
        """Publish videos and withdraw others, and say what some look like, also of those that were there before."""
        now = _now_ms()
        self._send(
            self.topics.videos,
            [
                *(Piece(f"v{number}".encode(), encode(video(number, published_ms=now))) for number in numbers),
                *(Piece(f"v{number}".encode(), None) for number in withdrawn),
            ],
        )
        self._send(
            self.topics.vectors, [_content(one % (VIDEOS + 1)) for number in numbers for one in (number, 7 * number)]
        )

    def _send(self, topic: str, records: Sequence[Piece]) -> None:
        servers = self.settings.bootstrap.split(",")
        with closing(KafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=2 << 20)) as producer:
            for future in [producer.send(topic, key=one.key, value=one.value, partition=0) for one in records]:
                future.get(60)

    def _port(self, name: str) -> int:
        argv = self._specs[name].argv
        return int(argv[argv.index("--metrics-port") + 1])

    def _look_after(self) -> None:
        for event in self.supervisor.poll(0.05):
            if event.kind == "exited" and event.name in self._specs:
                self.deaths += 1
                print(f"{event.name} ended by itself{self.supervisor.last_line(event.name)}", file=sys.stderr)
                self.supervisor.start(self._specs[event.name])

    # -- progress ---------------------------------------------------------------------------------------------------

    def progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return what is committed and where the log ends, by partition."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.settings.bootstrap.split(","),
            group_id=self.topics.group,
            enable_auto_commit=False,
        )
        with closing(consumer):
            tps = [TopicPartition(self.topics.events, number) for number in range(self.settings.partitions)]
            ends = consumer.end_offsets(tps)
            committed = {tp.partition: consumer.committed(tp) or 0 for tp in tps}
        return committed, {tp.partition: end for tp, end in ends.items()}

    def drain(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until everything is committed and no label is waited for; return whether that came true.

        A worker that ends meanwhile by itself counts as a death and is started again.
        """
        deadline = time.monotonic() + timeout_s
        before: dict[int, int] = {}
        while time.monotonic() < deadline:
            self._look_after()
            committed, ends = self.progress()
            if committed == ends == before:
                return True
            before = ends
            time.sleep(0.8)
        return False

    # -- the end ----------------------------------------------------------------------------------------------------

    def settle(self, name: str = "w1", timeout_s: float = PATIENCE_S) -> Tally:
        """Drain, stop, compare; then once more with the data folder wiped."""
        whole = Tally()
        if self.more_to_come:
            return whole
        for wiped in (False, True):
            if wiped:
                self.wipe(name)
            if not self.running(name):
                self.start(name, mutant=self.mutant)
            if not self._comes_up(name):
                return whole + self._behind()
            drained = self.drain(timeout_s)
            self.stop(name)
            whole += self.outcome.verify(self.folder(name)) if drained else self._behind()
        return whole

    def _comes_up(self, name: str) -> bool:
        """Wait for a worker; one that ends at every start, because it misses states, is stopped."""
        try:
            self.await_ready(name, 90.0)
        except AssertionError as error:
            print(error, file=sys.stderr)
            self.stop_or_end(name)
            return False
        return True

    def _behind(self) -> Tally:
        """Return what is not committed as lost; at least one, since nothing is compared."""
        committed, ends = self.progress()
        return Tally(lost=max(1, sum(ends.values()) - sum(committed.values())))


@contextmanager
def world(broker: Settings, folder: Path, seed: int = 1, **overrides: Any) -> Iterator[World]:
    """Open a world of its own on a broker; its workers' logs are shown when something raises."""
    unique = uuid.uuid4().hex[:8]
    base: dict[str, Any] = {
        "data_dir": folder / unique, "topic_prefix": f"f{unique}-", "app_id": f"faults-{unique}", "partitions": 2,
        "brokers": broker.bootstrap, "session_timeout_s": 6.0, "hidden_size": 16, "embedding_size": 8,
        "slate_size": 5, "slate_minimum": 2, "label_window_s": 2.0, "correction_window_s": 20.0, "poll_records": 200,
        "commit_interval_s": 0.2, "seen_videos": 64,
    }  # fmt: skip
    settings = load_settings(**(base | overrides))
    logs = settings.data_dir / "logs"
    with Supervisor(logs) as supervisor:
        try:
            yield World(settings, supervisor, seed)
        except BaseException:
            for log in sorted(logs.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
            raise
    shutil.rmtree(settings.data_dir, ignore_errors=True)


def _content(number: int) -> Piece:
    vector = np.random.default_rng([number, _now_ms()]).normal(size=SIZES["frames"])
    half = encoded_half(vector / np.linalg.norm(vector))
    one = VideoContent(video_id=f"v{number}", version="a", videos_offset=0, frames=half)
    return Piece(one.video_id.encode(), encode(one))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
