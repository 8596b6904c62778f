"""What a worker measures, for Prometheus. No label holds a user or a video."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from streams.core.feedback import Join

_LETTERS = ("empty", "too-large", "not-decodable", "schema-version", "invalid", "null-key", "key-mismatch",
            "raw-user-id")  # fmt: skip
_FAST = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CLIPS = (0.1, 0.25, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 5, 10, 30, 60, 300)
_SLOW = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 45, 60, 120, 300, 900, 3600)


class BatchHistogram(Collector):
    """A histogram that takes a whole batch of observations at once."""

    def __init__(self, name: str, text: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._name, self._text = name, text
        self._bounds = np.array(buckets)
        self._labels = [*(str(float(bound)) for bound in buckets), "+Inf"]
        self._counts = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe_many(self, values: NDArray[np.float64]) -> None:
        """Count values [B]; negative ones, from clocks that disagree, count as 0."""
        values = np.maximum(values, 0.0)
        self._counts += np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram, as the registry asks for it."""
        totals = np.cumsum(self._counts).tolist()
        yield HistogramMetricFamily(
            self._name, self._text, buckets=list(zip(self._labels, totals, strict=True)), sum_value=self._sum
        )


class WorkerMetrics:
    """The metrics of one worker, in a registry of their own so that tests can make several."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, buckets=buckets, registry=registry)

        self.event_to_state = BatchHistogram(
            "freshloop_event_to_state_seconds", "Event record to its state, durable.", _FAST, registry
        )
        self.event_to_slate = BatchHistogram(
            "freshloop_event_to_slate_seconds", "Event record to its slate, published.", _FAST, registry
        )
        self.published_to_recommendable = histogram(
            "freshloop_published_to_recommendable_seconds", "A video's publication to its place in the pool.", _FAST
        )
        self.ended_to_gone = histogram(
            "freshloop_ended_to_gone_seconds",
            "Record that ends an item (withdrawn, sold out, over) to its leaving of the pool: no later slate has it.",
            _FAST,
        )
        self.published_to_vectors = histogram(
            "freshloop_published_to_vectors_seconds",
            "A video's publication to its content vectors in the pool.",
            _CLIPS,
        )
        self.feedback_to_serving = histogram(
            "freshloop_feedback_to_serving_seconds",
            "Newest feedback a version learned from to that version serving.",
            _SLOW,
        )
        self.events = counter("freshloop_events_total", "Events taken from the topic, dead letters included.")
        self.slates = counter("freshloop_slates_total", "Slates published.")
        self.feedback = counter("freshloop_feedback_total", "Feedback records published.")
        self.joins = counter("freshloop_joins_total", "What became of impressions and outcomes.", "result")
        self.dead_letters = counter("freshloop_dead_letters_total", "Records sent to dead letters.", "reason")
        self.strays = counter("freshloop_rerouted_events_total", "Events sent on from the wrong partition to theirs.")
        self.limited = counter("freshloop_limited_events_total", "Events beyond their user's limit, only counted.")
        self.clipped = counter("freshloop_clipped_events_total", "Playbacks of over five times the duration, clipped.")
        self.state_reads = counter("freshloop_state_reads_total", "States needed, by where they were.", "where")
        self.rebuilt = counter("freshloop_states_rebuilt_total", "States rebuilt for another model version.")
        self.impressions = counter(
            "freshloop_impressions_total", "Impressions with an outcome or a closed window.", "arm"
        )
        self.reward = counter("freshloop_reward_total", "Sum of labels, half the reward each, first revisions.", "arm")
        self.models_refused = counter("freshloop_models_refused_total", "Model records refused.", "reason")
        self.model_swaps = counter("freshloop_model_swaps_total", "Versions that came into service.")
        self.batch_size = Histogram(
            "freshloop_batch_records", "Records in a batch.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000),
            registry=registry,
        )  # fmt: skip
        self.batch_seconds = histogram("freshloop_batch_compute_seconds", "Computation of one batch.", _FAST)
        self.pool_size = gauge("freshloop_pool_videos", "Videos that can be recommended now.")
        self.pool_kinds = gauge("freshloop_pool_items", "Items that can be recommended now, by kind.", "kind")
        self.model_version = gauge("freshloop_model_version", "Version that serves.")
        self.model_made = gauge("freshloop_model_made_timestamp_seconds", "When the serving version was made.")
        self.cached_users = gauge("freshloop_cached_users", "User states in memory.")
        self.requests = counter("freshloop_http_requests_total", "Requests to the API.", "route", "status")
        self.request_seconds = histogram("freshloop_http_request_seconds", "Duration of a request to the API.", _FAST)
        self.ready = gauge("freshloop_ready", "1 when states and broadcast topics are up to date.")
        self.lag = gauge(
            "freshloop_consumer_lag_offsets", "Offsets behind the end of the events partition.", "partition"
        )
        for reason in _LETTERS:  # a counter that does not exist yet cannot rise from nothing
            self.dead_letters.labels(reason)
        for result in Join:
            self.joins.labels(result.value)
        for where in ("memory", "store"):
            self.state_reads.labels(where)
        self.models_refused.labels("hash")
        self.models_refused.labels("signature")
