"""A worker on the real broker sends its traces to a receiver that speaks OTLP over HTTP; off, it imports nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from streams.codecs import encode
from streams.core.events import EventType
from streams.topics import Topics
from tests.conftest import free_ports
from tests.fakes import event, video
from tests.integration.test_worker import now_ms
from tests.running import publish, read, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

STEPS = ["wait", "apply", "journal", "publish", "order", "changelog", "store", "acknowledge"]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@contextmanager
def receiver():
    """A local receiver; yields its address and the spans that it has got."""
    spans, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            found = ExportTraceServiceRequest.FromString(body)
            with lock:
                for resource in found.resource_spans:
                    facts = values(resource.resource.attributes)
                    assert facts["service.name"] == "freshloop-worker"
                    spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def values(attributes):
    return {one.key: one.value.string_value or one.value.int_value for one in attributes}


def test_a_batch_is_a_trace_and_an_event_leads_from_its_producer_to_its_slate(broker, make_settings):
    (port,) = free_ports(1)
    with receiver() as (url, spans):
        settings = make_settings(partitions=1, traces=url, traces_share=1.0)
        topics = Topics(settings)
        with running(settings, worker_spec(settings, http_port=port)):
            publish(settings, videos=[video(number, published_ms=now_ms() - 1000) for number in range(10)])
            one = event("secret-viewer", EventType.OPEN, at=now_ms(), event_id="hello")
            headers = [("traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
            begun = now_ms()
            publish(
                settings,
                raw=[{"topic": topics.events, "key": b"secret-viewer", "value": encode(one), "headers": headers}],
            )
            read(settings, topics.recommendations, lambda found: len(found) >= 1)
            with pytest.raises(HTTPError):
                urlopen(f"http://127.0.0.1:{port}/v1/users/secret-viewer/nothing", timeout=5)
    assert not [span for span in spans if "secret" in str(span)], "a span names a user"
    (whole,) = [span for span in spans if span.name == "batch"]
    below = sorted(
        (span for span in spans if span.parent_span_id == whole.span_id), key=lambda span: span.end_time_unix_nano
    )
    assert [span.name for span in below] == STEPS
    assert all(span.trace_id == whole.trace_id for span in below)
    assert all(one.end_time_unix_nano == two.start_time_unix_nano for one, two in pairwise(below))
    facts = values(whole.attributes)
    assert (facts["freshloop.events"], facts["freshloop.slates"], facts["freshloop.states"]) == (1, 1, 1)
    (followed,) = [span for span in spans if span.name == "event to slate"]
    assert (followed.trace_id.hex(), followed.parent_span_id.hex()) == (TRACE, SPAN)
    assert [link.span_id for link in followed.links] == [whole.span_id]
    taken_ms = (followed.end_time_unix_nano - followed.start_time_unix_nano) / 1e6
    assert followed.start_time_unix_nano >= begun * 1_000_000
    assert 0 < taken_ms < 10_000
    assert [span for span in spans if span.name.startswith("HTTP ")]


def test_without_the_setting_nothing_of_opentelemetry_is_imported():
    probe = (
        "import sys; from streams.run import build_worker; from streams.config import load_settings\n"
        "from streams.metrics import WorkerMetrics; from prometheus_client import CollectorRegistry\n"
        "import asyncio\n"
        "async def main():\n"
        "    worker = build_worker(load_settings(), 'w', WorkerMetrics(CollectorRegistry()))\n"
        "    assert worker.delivery.traces is None\n"
        "asyncio.run(main())\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]\n"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=60)


def test_a_receiver_that_is_not_there_holds_nothing_up(broker, make_settings):
    (port,) = free_ports(1)
    settings = make_settings(partitions=1, traces=f"http://127.0.0.1:{port}", traces_share=1.0)
    with running(settings, worker_spec(settings)) as supervisor:
        publish(settings, events=[event("a", EventType.OPEN, at=now_ms(), event_id=f"e{at}") for at in range(20)])
        read(settings, Topics(settings).recommendations, lambda found: len(found) >= 20)
        begun = time.monotonic()
        supervisor.stop("w1")
        assert time.monotonic() - begun < 20
