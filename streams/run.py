"""Composition root of a worker process."""

from __future__ import annotations

import logging

import faust
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, start_http_server

from model.config import model_config
from model.registry import Registry, Version, initial_version
from streams.admin import require_topics
from streams.app import make_app
from streams.clock import Clock
from streams.config import ConfigError, Settings
from streams.core.ports import Scorer
from streams.metrics import WorkerMetrics
from streams.models import ServingModels
from streams.worker import Worker, make_pool

log = logging.getLogger("freshloop.worker")


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


def _scorer(version: Version | None) -> Scorer | None:
    return version.scorer() if version else None


def build_worker(settings: Settings, name: str, metrics: WorkerMetrics) -> Worker:
    """Put a worker together; nothing is connected yet."""
    clock = Clock()
    config = model_config(settings)
    pool = make_pool(settings)
    registry = Registry(settings.model_name, config, settings.frozen_after)

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
    worker = Worker(settings, name, pool, models, metrics, clock)
    return worker


def run_worker(settings: Settings, name: str, metrics_port: int, loglevel: str) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    Raises:
      ConfigError: the topics do not fit, or the metrics port is taken.
    """
    require_topics(settings)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = WorkerMetrics(registry)
    try:
        start_http_server(metrics_port, settings.http_host, registry)
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be served on port {metrics_port} (--metrics-port): {error.strerror}"
        ) from None
    app = make_app(settings, build_worker(settings, name, metrics))
    faust.Worker(app, loglevel=loglevel, redirect_stdouts=False, quiet=True).execute_from_commandline()
