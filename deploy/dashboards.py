"""The Grafana dashboards, from a short description: `python -m deploy.dashboards` writes `deploy/grafana/*.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).with_name("grafana")
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_HALF, _FULL, _STAT = 12, 24, 4
Kind = Literal["timeseries", "stat", "heatmap", "bargauge"]


@dataclass(frozen=True)
class Panel:
    """One panel. `queries` are (PromQL, legend) pairs; `unit` is Grafana's."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = _HALF
    text: str = ""


def q(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Return queries with their legends."""
    return pairs


def stat(title: str, query: str, unit: str = "short") -> Panel:
    """Return a single figure."""
    return Panel(title, q((query, "")), unit, "stat", _STAT)


def quantiles(title: str, metric: str, window: str = "1m", text: str = "") -> Panel:
    """Return p50, p90 and p99 of a histogram."""
    rate = f"sum by (le) (rate({metric}_bucket[{window}]))"
    return Panel(
        title, tuple((f"histogram_quantile({x / 100}, {rate})", f"p{x}") for x in (50, 90, 99)), "s", text=text
    )


def heatmap(title: str, metric: str) -> Panel:
    """Return a histogram over time."""
    return Panel(title, q((f"sum by (le) (increase({metric}_bucket[1m]))", "{{le}}")), "s", "heatmap")


_READY = "min(freshloop_ready)"
DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "overview": (
        "Freshloop: overview",
        (
            stat("Events", "freshloop:events:rate1m", "reqps"),
            stat("Slates", "freshloop:slates:rate1m", "reqps"),
            stat("Event → slate p99", "freshloop:event_to_slate_seconds:p99", "s"),
            stat("Fresh videos", "max(freshloop_pool_videos)"),
            stat("Model version", "max(freshloop_model_version)"),
            stat("Ready", _READY),
            Panel("Throughput", q(("freshloop:events:rate1m", "events"), ("freshloop:slates:rate1m", "slates"),
                                  ("freshloop:feedback:rate1m", "feedback")), "reqps"),
            Panel("Reward by arm", q(("freshloop:reward:mean10m", "{{arm}}")), text="Mean label over ten minutes."),
            quantiles("Event → slate", "freshloop_event_to_slate_seconds"),
            Panel("Lag", q(("sum by (partition) (freshloop_consumer_lag_offsets)", "partition {{partition}}"))),
        ),
    ),
    "freshness": (
        "Freshloop: freshness",
        (
            quantiles("Event → state", "freshloop_event_to_state_seconds", text="Until the state is durable."),
            quantiles("Event → slate", "freshloop_event_to_slate_seconds", text="Until the slate is acknowledged."),
            quantiles("Published → recommendable", "freshloop_published_to_recommendable_seconds", "5m"),
            quantiles("Ended → in no slate", "freshloop_ended_to_gone_seconds", "5m",
                      text="Withdrawn, sold out, over; from the record to the pool."),
            Panel("Feedback → serving model", q(("freshloop:feedback_to_serving_seconds:p99", "p99"),
                  ("time() - max(freshloop_model_made_timestamp_seconds > 0)", "age of the serving version")), "s"),
            Panel("Pool", q(("max by (kind) (freshloop_pool_items)", "{{kind}}")), text="What can be recommended now."),
            heatmap("Event → slate, all of it", "freshloop_event_to_slate_seconds"),
            heatmap("Event → state, all of it", "freshloop_event_to_state_seconds"),
        ),
    ),
    "learning": (
        "Freshloop: learning",
        (
            stat("Serving version", "max(freshloop_model_version)"),
            stat("Its age", "freshloop:model_age_seconds:min", "s"),
            stat("Swaps in an hour", "max(increase(freshloop_model_swaps_total[1h]))"),
            stat("Examples waiting", "freshloop_trainer_waiting_examples"),
            stat("Examples/s of a round", "freshloop_trainer_examples_per_second"),
            stat("Candidate − incumbent", "freshloop_trainer_gate_difference_nats"),
            Panel("Log-loss of the last round", q(("freshloop_trainer_loss_nats", "{{stretch}}"))),
            Panel("Gate", q(("sum by (result) (increase(freshloop_trainer_rounds_total[10m]))", "{{result}}")),
                  text="Rounds in ten minutes, by verdict."),
            Panel("Reward by arm", q(("freshloop:reward:mean10m", "{{arm}}"))),
            Panel("Share of the way to the oracle", q(("freshloop_simulated_reward_share", "{{arm}}")),
                  text="Of the simulation, where one runs: 0 is random, 1 the best possible."),
            quantiles("Duration of a round", "freshloop_trainer_round_seconds", "10m"),
            Panel("Feedback read", q(("sum by (result) (rate(freshloop_trainer_records_total[1m]))", "{{result}}")), "reqps"),
        ),
    ),
    "stream": (
        "Freshloop: stream health",
        (
            stat("Workers that answer", 'sum(up{job="freshloop-worker"})'),
            stat("Lag", "freshloop:lag_offsets:sum"),
            stat("Users in memory", "sum(freshloop_cached_users)"),
            stat("Events a batch", "sum(rate(freshloop_batch_records_sum[1m])) / sum(rate(freshloop_batch_records_count[1m]))"),
            stat("Memory", "sum(process_resident_memory_bytes)", "bytes"),
            stat("Processor", "sum(rate(process_cpu_seconds_total[1m]))"),
            Panel("Lag by partition", q(("sum by (partition) (freshloop_consumer_lag_offsets)", "partition {{partition}}"))),
            quantiles("Computation of a batch", "freshloop_batch_compute_seconds"),
            Panel("States, by where they were", q(("sum by (where) (rate(freshloop_state_reads_total[1m]))", "{{where}}")), "reqps"),
            Panel("States rebuilt for another version", q(("sum(rate(freshloop_states_rebuilt_total[1m]))", "rebuilt")), "reqps"),
            Panel("Memory by process", q(("process_resident_memory_bytes", "{{job}} {{instance}}")), "bytes"),
            Panel("Processor by process", q(("rate(process_cpu_seconds_total[1m])", "{{job}} {{instance}}"))),
        ),
    ),
    "trust": (
        "Freshloop: trust",
        (
            stat("Dead letters", "sum(increase(freshloop_dead_letters_total[1h]))"),
            stat("Share of events", "freshloop:dead_letters:ratio5m", "percentunit"),
            stat("Model records refused", "sum(increase(freshloop_models_refused_total[1h]))"),
            stat("Ready", _READY),
            stat("API requests", "sum(rate(freshloop_http_requests_total[1m]))", "reqps"),
            stat("API p99", "histogram_quantile(0.99, sum by (le) (rate(freshloop_http_request_seconds_bucket[5m])))", "s"),
            Panel("Dead letters by reason", q(("sum by (reason) (rate(freshloop_dead_letters_total[5m]))", "{{reason}}")), "reqps"),
            Panel("Impressions and outcomes", q(("sum by (result) (rate(freshloop_joins_total[1m]))", "{{result}}")), "reqps",
                  text="Orphans, duplicates and late outcomes are counted, never silently negative."),
            Panel("Model records refused by reason", q(("sum by (reason) (increase(freshloop_models_refused_total[10m]))", "{{reason}}"))),
            Panel("API answers", q(("sum by (route, status) (rate(freshloop_http_requests_total[1m]))", "{{route}} {{status}}")), "reqps"),
        ),
    ),
}  # fmt: skip


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[name]
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > _FULL:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        placed.append(_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": height}))
        x += panel.width
    return {
        "uid": f"freshloop-{name}",
        "title": title,
        "tags": ["freshloop"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]},
        "panels": placed,
    }  # fmt: skip


def queries(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (panel's title, PromQL) for every query of a dashboard."""
    return [(panel["title"], target["expr"]) for panel in document["panels"] for target in panel["targets"]]


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 8, "lineWidth": 2, "showPoints": "never"}
    targets = [
        {"refId": chr(65 + n), "datasource": _SOURCE, "expr": query, "legendFormat": legend,
         "format": "heatmap" if panel.kind == "heatmap" else "time_series"}
        for n, (query, legend) in enumerate(panel.queries)
    ]  # fmt: skip
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }


def as_text(name: str) -> str:
    """Return a dashboard's file."""
    return json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(as_text(name), "utf-8")


if __name__ == "__main__":
    write()
