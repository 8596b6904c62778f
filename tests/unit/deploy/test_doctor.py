from __future__ import annotations

import json
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typer.testing import CliRunner

from deploy import doctor
from streams.main import app
from tests.conftest import free_ports


def findings(settings):
    return {finding.what: finding for finding in doctor.examine(settings)}


@pytest.fixture
def settings(make_settings):
    metrics, http, console = free_ports(3)
    return make_settings(metrics_port=metrics, http_port=http, console_port=console)


@pytest.fixture
def answering():
    """Serve a JSON object at /healthz on a port of its own."""
    servers = []

    def start(health):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(health).encode())

            def log_message(self, *_):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_without_a_broker_it_says_how_to_start_one(settings):
    found = findings(settings)
    assert (found["broker"].state, found["broker"].mend) == ("bad", "run 'freshloop broker up'")
    assert found["packages"].state == found["python"].state == found["ports"].state == "ok"
    assert (found["worker"].state, found["worker"].mend) == ("note", "run 'freshloop worker'")
    assert "topics" not in found  # the broker comes first


def test_a_port_of_another_program_is_named(settings, answering):
    port = answering({"hello": "world"})
    found = findings(settings.model_copy(update={"http_port": port}))
    assert (found["ports"].state, found["ports"].mend) == ("bad", "set FRESHLOOP_HTTP_PORT")
    assert str(port) in found["ports"].text
    found = findings(settings.model_copy(update={"broker_port": port}))
    assert found["broker"].mend.startswith("set FRESHLOOP_BROKER_PORT")


def test_a_worker_is_described_and_missing_owners_are_noted(settings, answering):
    health = {"worker": "w7", "partitions": [0], "videos": 9, "model_version": 3, "status": "ok", "workers": []}
    found = findings(settings.model_copy(update={"http_port": answering(health)}))
    assert found["worker"].state == "ok"
    assert "w7" in found["worker"].text
    assert found["owners"].state == "note"
    assert found["ports"].state == "ok"
    health["status"] = "recovering"
    assert findings(settings.model_copy(update={"http_port": answering(health)}))["worker"].state == "note"


@pytest.mark.parametrize(("free_gib", "state"), [(50, "ok"), (2, "note"), (0.1, "bad")])
def test_disk(settings, monkeypatch, free_gib, state):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, int(free_gib * doctor.GIB)))
    assert findings(settings)["disk"].state == state


def test_a_package_that_is_not_as_pinned_is_named(settings, monkeypatch):
    monkeypatch.setattr(
        "importlib.metadata.requires", lambda _: ["aiokafka==9.9", "numpy>=2", 'tensorflow==1; x == "y"']
    )
    found = findings(settings)["packages"]
    assert (found.state, found.mend) == ("bad", "run 'make setup'")
    assert "aiokafka is" in found.text
    assert "tensorflow is" in found.text


def test_the_command_ends_with_one_json_object_and_exit_code_one(settings, monkeypatch):
    monkeypatch.setenv("FRESHLOOP_BROKER_PORT", str(settings.broker_port))
    monkeypatch.setenv("FRESHLOOP_CONTROLLER_PORT", str(settings.controller_port))
    monkeypatch.setenv("FRESHLOOP_DATA_DIR", str(settings.data_dir))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout.splitlines()[-1])["healthy"] is False
    result = CliRunner().invoke(app, ["doctor"])
    assert "→ run 'freshloop broker up'" in result.stdout
