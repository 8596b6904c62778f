"""What the trainer measures, for Prometheus. No label holds a user or a video."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_ROUND = (0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120)


class TrainerMetrics:
    """The metrics of the trainer, in a registry of their own so that tests can make several."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"freshloop_trainer_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"freshloop_trainer_{name}", text, labels, registry=registry)

        self.records = counter("records_total", "Feedback records read, by what became of them.", "result")
        self.erased = counter("erased_users_total", "Users who asked to be forgotten, taken note of since the start.")
        self.examples = counter("examples_total", "Examples gone through, passes and replay included.")
        self.rounds = counter("rounds_total", "Rounds of fine-tuning, by result.", "result")
        self.round_seconds = Histogram(
            "freshloop_trainer_round_seconds", "Duration of a round, judgement included.", buckets=_ROUND,
            registry=registry,
        )  # fmt: skip
        self.loss = gauge("loss_nats", "Mean log-loss of the last round, by stretch.", "stretch")
        self.difference = gauge("gate_difference_nats", "Candidate minus incumbent on the held-back stretch.")
        self.speed = gauge("examples_per_second", "Examples gone through per second of the last round.")
        self.waiting = gauge("waiting_examples", "Examples that no version has learned from yet.")
        self.kept = gauge("kept", "Users, examples and videos that the trainer remembers.", "what")
        self.version = gauge("model_version", "Version that the next round starts from.")
        self.made = gauge("model_made_timestamp_seconds", "When that version was made.")
        self.lag = gauge("consumer_lag_offsets", "Offsets behind the end of the feedback partition.", "partition")
        for verdict in ("accepted", "refused"):  # a counter that does not exist yet cannot rise from nothing
            self.rounds.labels(verdict)
