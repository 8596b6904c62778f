"""What the console makes of metrics, without a browser."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from deploy.console.api import Api, ApiDown, ApiRefused
from deploy.console.charts import seconds
from deploy.console.sources import Sources
from deploy.console.try_page import Happenings


@pytest.fixture
def sources(make_settings):
    return Sources(make_settings(), api=None)


def test_a_histogram_shows_the_last_minute_and_its_quantiles(sources):
    name = "freshloop_event_to_slate_seconds"
    sources._buckets.extend([{name: {0.1: 5.0, 1.0: 5.0}}, {name: {0.1: 5.0, 1.0: 15.0}}])
    single, p50, p99 = sources.histogram(name)
    assert single == {0.1: 0.0, 1.0: 10.0}
    assert (p50, p99) == (pytest.approx(0.55), pytest.approx(0.991))
    assert sources.histogram("nothing") == ({}, None, None)


def test_ports_are_those_of_the_demo_or_the_defaults(sources):
    assert sources.ports()["worker-0"] == sources.settings.metrics_port
    sources.demo = {"parts": [{"name": "worker-0", "metrics_port": 7}, {"name": "console", "metrics_port": None}]}
    assert sources.ports() == {"worker-0": 7}


def test_what_happens_to_parts_is_noted_in_words(sources):
    happenings = Happenings()
    for pid in (1, None, 2, 3):
        sources.demo = {"parts": [{"name": "worker-0", "pid": pid}]}
        happenings.look(sources)
    texts = [line[10:] for line in reversed(happenings.lines)]
    assert texts == ["worker-0 ended", "worker-0 runs again, 0 s later", "worker-0 was started again"]


def test_durations_for_a_person():
    assert [seconds(value) for value in (None, 0.0421, 2.5, 600)] == ["–", "42 ms", "2.5 s", "10 min"]


def test_the_console_turns_to_another_worker_when_one_is_gone(make_settings):
    def answer(request):
        if request.url.port == 1:
            raise httpx.ConnectError("gone")
        if request.url.path == "/healthz":
            return httpx.Response(200, json={"workers": [{"url": "http://b:2"}, {"url": ""}]})
        return httpx.Response(409, json={"error": "no."})

    async def run():
        api = Api(make_settings())
        api._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        api.urls = ["http://a:1", "http://b:2"]
        assert (await api.health())["workers"]
        assert api.urls[0] == "http://b:2"
        with pytest.raises(ApiRefused, match="no"):
            await api.post("/v1/models/current", {})
        api.urls = ["http://a:1"]
        with pytest.raises(ApiDown):
            await api.get("/healthz")
        await api.close()

    asyncio.run(run())
