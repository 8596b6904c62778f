"""Debian's Prometheus before a small running loop: no panel is empty, no rule fails."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.dashboards import DASHBOARDS, dashboard, queries
from deploy.scrape import scrape
from deploy.supervisor import ChildSpec
from streams.codecs import encode
from streams.topics import Topics
from tests.conftest import free_ports
from tests.fakes import event
from tests.running import environment, publish, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.training, pytest.mark.timeout(300)]

DEPLOY = Path(__file__).parents[2] / "deploy/prometheus"
PATIENCE_S = 150


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)")
def test_every_panel_and_rule_returns_data(broker, make_settings):
    settings = make_settings(
        partitions=2,
        arms={"popular": "popular", "random": "random"},
        train_examples=300,
        train_seconds=5,
        train_minimum=150,
        frozen_after=300,
    )
    trainer, simulate, api, web = free_ports(4)
    worker = worker_spec(settings, http_port=api)
    ports = {"worker": metrics_port(worker), "trainer": trainer, "simulate": simulate}
    specs = [
        worker,
        part(settings, "trainer", trainer),
        part(settings, "simulate", simulate, "--arms", "online,popular,random", "--viewers", "60", "--videos", "200",
             "--rate", "120"),
        prometheus(settings, ports, web),
    ]  # fmt: skip
    with running(settings, *specs):
        publish(settings, raw=[{"topic": Topics(settings).events, "key": b"a", "value": b"\xc1"}])
        again = event("other")
        publish(settings, raw=[{"topic": Topics(settings).events, "key": b"a", "value": encode(again)}])
        waiting = {(name, title, query) for name in DASHBOARDS for title, query in queries(dashboard(name))}
        waiting |= {("rules", rule["record"], rule["record"]) for rule in recorded()}
        deadline = time.monotonic() + PATIENCE_S
        while waiting and time.monotonic() < deadline:
            httpx.get(f"http://127.0.0.1:{api}/healthz", timeout=10)
            waiting = {one for one in waiting if empty(web, one[2])}
            time.sleep(2)
        assert waiting == set()
        rules = asked(web, "rules", {})["groups"]
        assert [rule["lastError"] for group in rules for rule in group["rules"] if rule.get("lastError")] == []
        assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}


def recorded():
    return [rule for group in yaml.safe_load((DEPLOY / "rules.yml").read_text())["groups"] for rule in group["rules"]]


def metrics_port(spec):
    return int(spec.argv[spec.argv.index("--metrics-port") + 1])


def part(settings, name, port, *more):
    argv = (sys.executable, "-m", "streams.main", name, "--metrics-port", str(port), *more)
    return ChildSpec(name, argv, environment(settings), ready=lambda: scrape(port) is not None, ready_timeout_s=90)


def prometheus(settings, ports, web):
    """Return Prometheus with our configuration, its targets replaced, its times shortened."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        name = job["job_name"].removeprefix("freshloop-")
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[name]}"]}]
    path = settings.data_dir / "prometheus.json"
    path.write_text(json.dumps(config))  # YAML's little sister
    argv = (
        "prometheus", f"--config.file={path}", f"--storage.tsdb.path={settings.data_dir / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{web}", "--log.level=warn",
    )  # fmt: skip
    return ChildSpec("prometheus", argv, ready=lambda: answers(web), ready_timeout_s=60)


def answers(web):
    try:
        return httpx.get(f"http://127.0.0.1:{web}/-/ready", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def asked(web, path, params):
    answer = httpx.get(f"http://127.0.0.1:{web}/api/v1/{path}", params=params, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def empty(web, query):
    found = asked(web, "query", {"query": query})["result"]
    return not any(one["value"][1] != "NaN" for one in found)
