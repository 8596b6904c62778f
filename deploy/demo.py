"""The whole loop on one machine: what runs, in which order, and what it amounts to.

The demo starts from nothing. When no broker runs at the configured port, it brings up one of its own, with the topics
under their plain names and the data in `<data_dir>/demo`, which is emptied first. When one runs (or FRESHLOOP_BROKERS
names a cluster), its topics get a prefix of their own there and are removed at the end.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deploy import broker
from deploy.control import Control
from deploy.scrape import Samples, Totals, answers, quantile, scrape, total
from deploy.supervisor import ChildSpec, Supervisor
from streams.admin import accepts, answering_cluster, create_topics, delete_topics
from streams.config import ConfigError, Settings, load_settings

ARMS = ("online", "frozen", "popular", "random")
RAMP_S = 5  # viewers come evenly over the first seconds, as the broker and the worker warm up
PREFIX = "demo-"  # of the topics on a broker that is not the demo's own
Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoOptions:
    """What a person may choose. `rate` is in viewer events per second over all arms.

    Attributes:
      products, rooms: shares of the videos that are products and live rooms.
    """

    workers: int = 1
    viewers: int = 1000
    rate: float = 1000.0
    seed: int = 1
    console: bool = True
    products: float = 0.0
    rooms: float = 0.0
    clips: bool = False


@dataclass
class Demo:
    """A running demo.

    Attributes:
      settings: that every part runs with.
      endpoints: name and totals of each part that serves metrics, with its port.
      versions: model versions that were seen serving, in order.
    """

    settings: Settings
    options: DemoOptions
    supervisor: Supervisor
    endpoints: dict[str, tuple[int, Totals]] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    restarts: int = 0
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        self.control = Control(self.settings.data_dir, self.supervisor)

    @property
    def summary_path(self) -> Path:
        """Where the simulator writes what it measures."""
        return self.settings.data_dir / "simulate.json"

    def look(self) -> None:
        """Restart what died and read everyone's metrics."""
        for event in self.supervisor.poll():
            self.restarts += event.kind == "restarted"
            self.control.restarts[event.name] = event.restarts
        self.control.look({name: port for name, (port, _) in self.endpoints.items()})
        for port, totals in self.endpoints.values():
            totals.look(scrape(port))
        version = int(max(self._gauges("freshloop_model_version"), default=0))
        if version not in self.versions:
            self.versions.append(version)

    def samples(self, kind: str = "") -> list[Samples]:
        """Return the samples of every part whose name begins with `kind`."""
        return [totals.samples() for name, (_, totals) in self.endpoints.items() if name.startswith(kind)]

    def simulated(self) -> dict[str, Any]:
        """Return what the simulator measured so far, empty before its first report."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self.summary_path.read_text("utf-8"))
            return found
        return {}

    def _gauges(self, name: str) -> list[float]:
        return [value for samples in self.samples("worker") for (found, _), value in samples.items() if found == name]


def run(options: DemoOptions, settings: Settings, say: Say) -> Generator[Demo, None, None]:
    """Start everything, then yield once a second until closed; everything is stopped at the end.

    Raises:
      ConfigError: something cannot be started; one sentence that says what to do.
    """
    with _home(settings, say) as home, Supervisor(home.data_dir / "logs") as supervisor:
        demo = Demo(home, options, supervisor)
        for spec in _broker_parts(home):
            say("starting the broker")
            supervisor.start(spec)
        for done in create_topics(home):
            say(done)
        for spec in parts(home, options, demo.summary_path):
            say(f"starting {spec.name}")
            port = _port_of(spec)
            if port is not None:
                broker.require_free("METRICS_PORT", port)
                demo.endpoints[spec.name] = (port, Totals())
            supervisor.start(spec)
        say(f"running; logs are in {home.data_dir / 'logs'}")
        if options.console:
            say(f"the console is at http://{home.http_host}:{home.console_port}")
        try:
            while True:
                demo.look()
                yield demo
        finally:
            demo.control.close()


def parts(settings: Settings, options: DemoOptions, summary: Path) -> list[ChildSpec]:
    """Return the processes beside the broker, in the order of their start."""
    env = {f"FRESHLOOP_{name.upper()}": value for name, value in _shared(settings).items()}
    port = settings.metrics_port
    workers = [_worker(settings, env, n) for n in range(options.workers)]
    trainer = _part("trainer", env, port + options.workers, "trainer")
    simulate = _part(
        "simulate", env, port + options.workers + 1, "simulate", "--arms", ",".join(ARMS),
        "--viewers", str(options.viewers), "--rate", str(options.rate), "--seed", str(options.seed),
        "--ramp", str(RAMP_S), "--measure-from", "frozen", "--summary", str(summary),
        *(["--render", str(settings.data_dir / "clips")] if options.clips else ()),
        "--products", str(options.products), "--rooms", str(options.rooms),
    )  # fmt: skip
    ingest = [_part("ingest", env, port + options.workers + 2, "ingest")] if options.clips else []
    return [*workers, trainer, *ingest, *([_console(settings, env)] if options.console else []), simulate]


def _worker(settings: Settings, env: Mapping[str, str], number: int) -> ChildSpec:
    """Return a worker; it is ready once it owns partitions, so that no viewer waits for its first slate."""
    http = settings.http_port + number
    spec = _part(
        f"worker-{number}", env, settings.metrics_port + number, "worker", "--name", f"w{number}", "--loglevel", "warn",
        "--http-port", str(http),
    )  # fmt: skip
    return replace(spec, ready=lambda: answers(f"http://{settings.http_host}:{http}/readyz"))


def _console(settings: Settings, env: Mapping[str, str]) -> ChildSpec:
    server = f"{settings.http_host}:{settings.console_port}"
    argv = (sys.executable, "-m", "streams.main", "console")
    return ChildSpec("console", argv, env, ready=lambda: accepts(server), ready_timeout_s=60)


def _part(name: str, env: Mapping[str, str], port: int, *command: str) -> ChildSpec:
    argv = (sys.executable, "-m", "streams.main", *command, "--metrics-port", str(port))
    return ChildSpec(name, argv, env, ready=lambda: scrape(port) is not None, ready_timeout_s=90)


def _port_of(spec: ChildSpec) -> int | None:
    return int(spec.argv[-1]) if spec.argv[-2] == "--metrics-port" else None


def _shared(settings: Settings) -> dict[str, str]:
    return {
        "data_dir": str(settings.data_dir),
        "brokers": settings.brokers,
        "topic_prefix": settings.topic_prefix,
        "app_id": settings.app_id,
        "arms": json.dumps(settings.arms),
        "http_port": str(settings.http_port),
        "console_port": str(settings.console_port),
        "recent_events": str(settings.recent_events),
    }


def _broker_parts(settings: Settings) -> list[ChildSpec]:
    if settings.brokers:
        return []
    env = {"FRESHLOOP_DATA_DIR": str(settings.data_dir), "FRESHLOOP_BROKERS": ""}
    argv = (sys.executable, "-m", "streams.main", "broker", "run")
    return [ChildSpec("broker", argv, env, ready=lambda: answering_cluster(settings) is not None, stop_timeout_s=30)]


@contextmanager
def _home(settings: Settings, say: Say) -> Iterator[Settings]:
    """Yield the settings of this demo: its data folder, its cluster, its topics."""
    folder = settings.data_dir.absolute() / "demo"
    own = not settings.brokers and answering_cluster(settings) is None
    arms, recent = {arm: arm for arm in ARMS}, settings.watched_recent
    common: dict[str, Any] = {"data_dir": folder, "arms": arms, "recent_events": recent}
    if own:
        broker.down(load_settings(**common, brokers=""))
        _empty(folder)
        yield load_settings(**common, brokers="")
        return
    home = load_settings(**common, brokers=settings.bootstrap, topic_prefix=f"{settings.topic_prefix}{PREFIX}")
    say(f"a broker runs at {settings.bootstrap}; the demo's topics there begin with {home.topic_prefix}")
    delete_topics(home)
    _empty(folder)
    try:
        yield home
    finally:
        with suppress(ConfigError):
            delete_topics(home)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def result(demo: Demo, seconds: float) -> dict[str, Any]:
    """Return what the demo amounts to, as `freshloop demo --json` prints it."""
    workers, simulated = demo.samples("worker"), demo.simulated()
    return {
        "events": int(total(workers, "freshloop_events_total")),
        "slates": int(total(workers, "freshloop_slates_total")),
        "feedback": int(total(workers, "freshloop_feedback_total")),
        "dead_letters": int(total(workers, "freshloop_dead_letters_total")),
        "model_versions": demo.versions,
        "event_to_slate_ms": _ms(workers, "freshloop_event_to_slate_seconds"),
        "published_to_recommendable_ms": _ms(workers, "freshloop_published_to_recommendable_seconds"),
        "feedback_to_serving_s": _rounded(quantile(workers, "freshloop_feedback_to_serving_seconds", 0.99)),
        "reward_share": simulated.get("reward_share", {}),
        "reward_share_interval": simulated.get("reward_share_interval", {}),
        "seconds": round(seconds, 1),
        "restarts": demo.restarts,
    }


def _ms(samples: list[Samples], name: str) -> dict[str, float | None]:
    found = {f"p{q}": quantile(samples, name, q / 100) for q in (50, 99)}
    return {key: _rounded(None if value is None else value * 1000) for key, value in found.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
