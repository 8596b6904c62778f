from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from deploy.scrape import Totals, parse, quantile, quantile_of, scrape, total


def page(count: float) -> dict:
    registry = CollectorRegistry()
    Counter("freshloop_events_total", "x", registry=registry).inc(count)
    Counter("freshloop_dead_letters_total", "x", ["reason"], registry=registry).labels("empty").inc(2)
    return parse(generate_latest(registry).decode())


def test_a_restart_keeps_what_was_counted():
    totals = Totals()
    for samples in (page(5), page(9), None, page(2), page(3)):
        totals.look(samples)
    assert total([totals.samples()], "freshloop_events_total") == 9 + 3


def test_sums_over_processes_and_labels():
    pages = [page(1), page(2)]
    assert total(pages, "freshloop_events_total") == 3
    assert total(pages, "freshloop_dead_letters_total") == 4
    assert total(pages, "freshloop_dead_letters_total", reason="empty") == 4
    assert total(pages, "freshloop_dead_letters_total", reason="other") == 0


def test_nobody_answers():
    assert scrape(1) is None


@given(st.lists(st.floats(0.001, 0.9), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, q):
    registry = CollectorRegistry()
    bounds = [0.01, 0.1, 0.2, 0.5, 1.0]
    histogram = Histogram("h", "x", buckets=bounds, registry=registry)
    for value in values:
        histogram.observe(value)
    found = quantile([parse(generate_latest(registry).decode())], "h", q)
    true = float(np.quantile(values, q, method="inverted_cdf"))
    bucket = next(index for index, bound in enumerate(bounds) if true <= bound)
    assert ([0.0, *bounds][bucket]) <= found <= bounds[bucket] + 1e-9


def test_an_empty_histogram_has_no_quantile():
    assert quantile([page(1)], "freshloop_event_to_slate_seconds", 0.5) is None


@pytest.mark.parametrize("q", [0.5, 0.99])
def test_beyond_the_last_bound(q):
    assert quantile_of({0.1: 0, 1.0: 0, math.inf: 3}, q) == 1.0
