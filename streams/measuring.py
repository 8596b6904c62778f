"""What is counted of a part of a batch once it is applied in memory."""

from __future__ import annotations

from streams.metrics import WorkerMetrics
from streams.turn import Turn


def measure(metrics: WorkerMetrics, turn: Turn, lag: int, seconds: float) -> None:
    """Count what a part of a batch brought.

    Args:
      lag: offsets of its partition behind it.
      seconds: that it took to apply.
    """
    batch, intake, effects = turn.batch, turn.intake, turn.effects
    metrics.events.inc(len(batch.records))
    metrics.batch_size.observe(len(batch.records))
    metrics.batch_seconds.observe(seconds)
    metrics.slates.inc(sum(map(len, effects.ranked)))
    metrics.feedback.inc(sum(map(len, effects.labelled)))
    metrics.state_reads.labels("memory").inc(turn.held)
    metrics.state_reads.labels("store").inc(turn.read)
    metrics.rebuilt.inc(effects.counts.pop("rebuilt", 0))
    metrics.limited.inc(effects.counts.pop("limited", 0))
    metrics.clipped.inc(effects.counts.pop("clipped", 0))
    metrics.lag.labels(str(batch.tp.partition)).set(lag)
    for result, count in effects.counts.items():
        metrics.joins.labels(str(result)).inc(count)
    metrics.strays.inc(len(intake.strays))
    for reason, _ in intake.dead:
        metrics.dead_letters.labels(reason).inc()
    for arm, (count, total) in effects.rewards().items():
        metrics.impressions.labels(arm).inc(count)
        metrics.reward.labels(arm).inc(total)
