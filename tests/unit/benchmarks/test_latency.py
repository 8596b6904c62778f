"""The latency benchmark tells medians of its turns, and how far apart they were."""

from __future__ import annotations

from benchmarks.latency import summary


def test_a_row_has_medians_and_spreads():
    turns = [
        {"share": 0.5, "p50_ms": p50, "p99_ms": p99, "p999_ms": 90.0, "slates_watched": 10, "sender_p99_ms": late}
        for p50, p99, late in ((10.0, 30.0, 3.0), (14.0, 80.0, 9.0), (12.0, 40.0, 4.0))
    ]
    row = summary(turns)
    assert (row["share"], row["p50_ms"], row["p99_ms"]) == (0.5, 12.0, 40.0)
    assert row["spread"] == {"p50_ms": [10.0, 14.0], "p99_ms": [30.0, 80.0], "p999_ms": [90.0, 90.0]}
    assert (row["slates_watched"], row["sender_p99_ms"]) == (30, 9.0)
