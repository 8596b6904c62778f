"""Composition root of a worker process."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import faust
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from model.choose import choose, one_back
from model.config import model_config
from model.listing import summary
from model.registry import Registry, Version, initial_version
from model.signature import signing_key
from streams import failpoints
from streams.admin import require_topics
from streams.app import make_app
from streams.clock import Clock
from streams.config import ConfigError, Settings
from streams.configured import make_pool
from streams.core.layout import LAYOUT
from streams.core.migration import OLDEST
from streams.core.ports import Scorer, Trial
from streams.http.api import make_api
from streams.http.server import bind, serve, url_of
from streams.http.service import Service
from streams.metrics import WorkerMetrics
from streams.models import ServingModels
from streams.processes import serve_metrics
from streams.tracing import make_traces
from streams.worker import Worker

log = logging.getLogger("freshloop.worker")

SWITCH_S = 0.0005  # the thread that fetches waits so long for the interpreter at each step, instead of 5 ms
YOUNG_OBJECTS = 50_000  # between two collections; a batch makes thousands of them, and no cycles


class RegistryVersions:
    """The registry of model versions as the worker sees it: scorers instead of weights."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def feed(self, key: bytes, value: bytes | None) -> str | None:
        """Take a record of the `models` topic; return the reason when it is refused."""
        return self._registry.feed(key, value)

    def current(self) -> Scorer | None:
        """Return the scorer in service."""
        return _scorer(self._registry.current())

    def first_at_least(self, trained_through: int) -> Scorer | None:
        """Return the scorer of the first version that learned from so many feedback records."""
        return _scorer(self._registry.first_at_least(trained_through))

    def trial(self) -> Trial | None:
        """Return the version on trial, when there is one and it can serve."""
        found, named = _scorer(self._registry.trial()), self._registry.named
        return Trial(found, named.share) if found and named else None

    def version(self, number: int) -> Scorer | None:
        """Return the scorer of a version that can serve, whether or not it does."""
        return _scorer(self._registry.version(number))


class ServedVersions:
    """Model versions as the API sees them: what the worker's registry knows, and changes through the topic."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._registry = settings, registry

    def summary(self) -> dict[str, Any]:
        """Return all versions and what serves, ready for JSON."""
        return summary(self._registry, self._settings.frozen_after)

    def choose(self, version: int | None, reason: str) -> dict[str, Any]:
        """Put a version into service (None: the parent of the present one); blocks until the cluster has it."""
        done = choose(self._settings, lambda found: one_back(found) if version is None else version, reason)
        return asdict(done)


def _scorer(version: Version | None) -> Scorer | None:
    return version.scorer() if version else None


def build_worker(
    settings: Settings,
    name: str,
    metrics: WorkerMetrics,
    http_port: int = 0,
    topic_ids: Mapping[str, str] | None = None,
) -> Worker:
    """Put a worker together; nothing is connected yet.

    Args:
      http_port: of its API; 0 for none.
      topic_ids: of the topics that exist, by name.
    Raises:
      ConfigError: that port is taken.
    """
    clock = Clock()
    config = model_config(settings)
    pool = make_pool(settings)
    registry = Registry(settings.model_name, config, settings.frozen_after, key=signing_key(settings))

    def on_swap(scorer: Scorer) -> None:
        version = registry.current()
        metrics.model_version.set(scorer.version)
        metrics.model_swaps.inc()
        if version is not None:
            metrics.model_made.set(version.manifest.created_ms / 1000)
            if worker.broadcast.caught_up.is_set():
                behind = clock.now_ms() - version.manifest.trained_through_ms
                metrics.feedback_to_serving.observe(max(0, behind) / 1000)
        log.info("model version %d serves, trained through %d", scorer.version, scorer.trained_through)

    first = initial_version(settings.model_name, config).scorer()
    models = ServingModels(RegistryVersions(registry), first, pool, settings.frozen_after, on_swap)
    worker = Worker(settings, name, pool, models, metrics, clock, topic_ids or {})
    worker.delivery.traces = make_traces(settings, name, clock)
    if http_port:
        _add_api(worker, ServedVersions(settings, registry), http_port)
    return worker


def _add_api(worker: Worker, versions: ServedVersions, port: int) -> None:
    settings, metrics = worker.settings, worker.metrics

    def observe(route: str, status: int, seconds: float) -> None:
        metrics.requests.labels(route, str(status)).inc()
        metrics.request_seconds.observe(seconds)
        if worker.delivery.traces is not None:
            worker.delivery.traces.request(route, status, seconds)

    bound = bind(settings, port)
    app = make_api(Service(worker, versions), settings.http_token.get_secret_value(), observe, worker.clock)
    worker.url = url_of(settings, port)
    worker.services.append(lambda: serve(app, bound))


def run_worker(settings: Settings, name: str, metrics_port: int, loglevel: str, http_port: int = 0) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    Args:
      http_port: of its API; 0 for none.
    Raises:
      ConfigError: the topics do not fit, or a port is taken.
    """
    failpoints.arm(settings.failpoint)
    if settings.state_layout and not OLDEST <= settings.state_layout <= LAYOUT:
        raise ConfigError(f"setting state_layout (FRESHLOOP_STATE_LAYOUT): there are {OLDEST} to {LAYOUT}, or 0")
    ids = require_topics(settings)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = WorkerMetrics(registry)
    serve_metrics(settings, metrics_port, registry)
    app = make_app(settings, build_worker(settings, name, metrics, http_port, ids))
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()  # what is made until now stays; the collector need not look at it again
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
    faust.Worker(app, loglevel=loglevel, redirect_stdouts=False, quiet=True).execute_from_commandline()
