"""Dashboards, rules and alerts on paper: generated, documented, tested; metrics exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.dashboards import DASHBOARDS, FOLDER, as_text, queries
from model.trainer_metrics import TrainerMetrics
from producers.simulation_metrics import SimulationMetrics
from streams.metrics import WorkerMetrics

ROOT = Path(__file__).parents[3]
RULES, ALERTS = ROOT / "deploy/prometheus/rules.yml", ROOT / "deploy/prometheus/alerts.yml"
CASES = ROOT / "tests/prometheus/alerts_test.yml"


def rules(path):
    return [rule for group in yaml.safe_load(path.read_text("utf-8"))["groups"] for rule in group["rules"]]


def known_metrics():
    """Return the names that our parts serve, and those of recording rules."""
    registries = [CollectorRegistry() for _ in range(2)]
    WorkerMetrics(registries[0])
    TrainerMetrics(registries[1])
    simulation = SimulationMetrics(CollectorRegistry(), ("online",))
    simulation.share.labels("online").set(0)
    found = {rule["record"] for rule in rules(RULES)} | {"up"}
    for registry in [*registries, simulation.registry]:
        for family in registry.collect():
            found.add(family.name)
            found |= {family.name + end for end in ("_total", "_bucket", "_sum", "_count")}
    return found


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_files_are_what_the_description_makes(name):
    assert (FOLDER / f"{name}.json").read_text("utf-8") == as_text(name), "run 'python -m deploy.dashboards'"
    document = json.loads(as_text(name))
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_every_query_reads_metrics_that_exist():
    expressions = [query for name in DASHBOARDS for _, query in queries(json.loads(as_text(name)))]
    expressions += [rule["expr"] for path in (RULES, ALERTS) for rule in rules(path)]
    known = known_metrics()
    for expression in expressions:
        for name in re.findall(r"freshloop[a-z_:0-9]+", expression):
            if name != "freshloop" and not re.search(rf'"{name}', expression):
                assert name in known, f"{name} in {expression}"


def test_every_alert_has_a_section_in_the_runbook_and_a_case_that_fires():
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text("utf-8"), re.M))
    cases = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    fired = {one["alertname"] for case in cases for one in case["alert_rule_test"] if one.get("exp_alerts")}
    alerts = rules(ALERTS)
    assert {rule["alert"] for rule in alerts} == headings == fired
    for rule in alerts:
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize(
    "command",
    [
        ("check", "config", str(ROOT / "deploy/prometheus/prometheus.yml")),
        ("check", "rules", str(RULES), str(ALERTS)),
        ("test", "rules", str(CASES)),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_promtool(command):
    done = subprocess.run(("promtool", *command), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
