"""What ingest measures, for Prometheus. No label holds a video."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from model.content.media import REASONS

_CLIP = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5, 10, 20, 60)
_WAIT = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 900, 3600)
RESULTS = ("embedded", "cached", "text", "failed")


class IngestMetrics:
    """The metrics of one ingest process, in a registry of their own so that tests can make several."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.videos = Counter(
            "freshloop_ingest_videos_total", "Videos whose vectors were published, by how.", ["result"],
            registry=registry,
        )  # fmt: skip
        self.failures = Counter(
            "freshloop_ingest_failures_total", "Media that gave no vector, by reason.", ["reason"], registry=registry
        )
        self.seconds = Histogram(
            "freshloop_ingest_seconds", "Reading, decoding and embedding one video.", buckets=_CLIP, registry=registry
        )
        self.published_to_vectors = Histogram(
            "freshloop_ingest_published_to_vectors_seconds", "A video's publication to its vectors, published.",
            buckets=_WAIT, registry=registry,
        )  # fmt: skip
        self.queue = Gauge("freshloop_ingest_waiting_videos", "Videos that wait, by why.", ["kind"], registry=registry)
        for result in RESULTS:  # a counter that does not exist yet cannot rise from nothing
            self.videos.labels(result)
        for reason in REASONS:
            self.failures.labels(reason)
