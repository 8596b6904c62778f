"""Reads the metrics of other processes over HTTP and adds them up, also across restarts."""

from __future__ import annotations

import math
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 2.0

#: Name of a sample and its labels, sorted.
Series = tuple[str, tuple[tuple[str, str], ...]]
Samples = dict[Series, float]


def scrape(port: int, host: str = "127.0.0.1") -> Samples | None:
    """Return the samples that a process serves at `port`, None when it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.URLError, UnicodeDecodeError):
        return None
    return parse(text)


def answers(url: str) -> bool:
    """Tell whether `url` answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def parse(text: str) -> Samples:
    """Return the samples of a page in Prometheus' text format."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Totals:
    """Counters of one endpoint, summed over the processes that have stood behind it.

    A counter that falls belongs to a new process; what the old one had counted is kept. What it counted between the
    last look and its end is not known.
    """

    def __init__(self) -> None:
        self._before: defaultdict[Series, float] = defaultdict(float)
        self._now: Samples = {}

    def look(self, samples: Samples | None) -> None:
        """Take a scrape; None, a process that does not answer, changes nothing."""
        if samples is None:
            return
        for series, value in self._now.items():
            if series[0].endswith(("_total", "_bucket", "_sum", "_count")) and samples.get(series, 0.0) < value:
                self._before[series] += value
        self._now = samples

    def samples(self) -> Samples:
        """Return the newest gauges and the summed counters."""
        series = set(self._now) | set(self._before)
        return {one: self._before[one] + self._now.get(one, 0.0) for one in series}


def total(all_samples: Iterable[Samples], name: str, **labels: str) -> float:
    """Return the sum of a metric over processes and over the labels that are not given."""
    wanted = set(labels.items())
    return sum(
        value
        for samples in all_samples
        for (found, has), value in samples.items()
        if found == name and wanted <= set(has)
    )


def quantile(all_samples: Iterable[Samples], name: str, q: float) -> float | None:
    """Return a quantile of a histogram over processes, None when it is empty.

    Interpolates linearly within a bucket, as Prometheus' `histogram_quantile` does; beyond the last finite bound it
    returns that bound.
    """
    buckets: defaultdict[float, float] = defaultdict(float)
    for samples in all_samples:
        for (found, labels), value in samples.items():
            if found == f"{name}_bucket":
                buckets[float(dict(labels)["le"])] += value
    return quantile_of(buckets, q)


def quantile_of(buckets: Mapping[float, float], q: float) -> float | None:
    """Return a quantile of cumulative counts by upper bound, None when there is nothing in them."""
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank, low, below = q * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / max(count - below, 1e-12)
        low, below = bound, count
    return low
