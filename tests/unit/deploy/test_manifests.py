"""Compose, Kubernetes and the image, against schemas that ship in packages and against the commands themselves."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from streams.config import SECRETS_DIR, Settings
from tests.docs.commands import commands

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMMANDS = dict(commands())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
KUBERNETES = [
    (path.name, document)
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    if path.name not in ("kustomization.yaml", "prometheus-adapter.values.yaml")
    for document in yaml.safe_load_all(path.read_text())
]
PODS = [
    (f"{document['kind']} {document['metadata']['name']}", document["spec"]["template"]["spec"])
    for _, document in KUBERNETES if document["kind"] in ("StatefulSet", "Deployment", "Job")
]  # fmt: skip


def named(kind, name):
    (found,) = [one for _, one in KUBERNETES if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def parse(words):
    """Parse a command line as the command would; raises when it is wrong."""
    path = next(" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in COMMANDS)
    COMMANDS[path].make_context(path, [str(word) for word in words[len(path.split()) :]])
    return path


def wrong_settings(names):
    ours = [name for name in names if name.startswith("FRESHLOOP_") and name != SECRETS_DIR]
    return [name for name in ours if name.removeprefix("FRESHLOOP_").lower() not in Settings.model_fields]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_is_valid(compose):
    package = importlib.util.find_spec("check_jsonschema").submodule_search_locations[0]
    schema = json.loads((Path(package) / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(compose)


def test_compose_runs_commands_and_settings_that_there_are(compose):
    ran = [parse(one["command"]) for one in compose["services"].values() if one["image"] == "freshloop"]
    assert sorted(ran) == ["console", "simulate", "topics create", "trainer", "worker", "worker"]
    for service in compose["services"].values():
        assert not wrong_settings(service.get("environment", {}))


def test_compose_mounts_files_that_there_are_and_binds_to_this_machine_alone(compose):
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@pytest.mark.parametrize(("file", "document"), KUBERNETES, ids=lambda one: one if isinstance(one, str) else one["kind"])
def test_kubernetes_objects_are_valid(file, document):
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_wrong_manifest_would_be_found():
    broken = json.loads(json.dumps(named("StatefulSet", "freshloop-worker")))
    broken["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_pods_run_commands_and_settings_that_there_are_without_rights(name, pod):
    (container,) = pod["containers"]
    parse(container["args"])
    assert not wrong_settings([one["name"] for one in container.get("env", ())])
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["resources"]["limits"]["memory"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted <= {one["name"] for one in pod["volumes"]} | {"data"}


def test_settings_and_secrets_are_those_that_there_are():
    assert not wrong_settings(named("ConfigMap", "freshloop")["data"])
    assert not wrong_settings(named("Secret", "freshloop")["stringData"])


def test_a_secret_is_read_from_the_folder(tmp_path, monkeypatch):
    from streams.config import load_settings

    (tmp_path / "FRESHLOOP_HTTP_TOKEN").write_text("hidden")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    assert load_settings().http_token.get_secret_value() == "hidden"


def test_what_watches_the_workers_points_at_them():
    worker = named("StatefulSet", "freshloop-worker")
    labels = worker["spec"]["template"]["metadata"]["labels"]
    assert named("PodDisruptionBudget", "freshloop-worker")["spec"]["selector"]["matchLabels"] == labels
    assert named("HorizontalPodAutoscaler", "freshloop-worker")["spec"]["scaleTargetRef"]["name"] == "freshloop-worker"
    for service in ("freshloop-worker", "freshloop-api"):
        assert named("Service", service)["spec"]["selector"] == labels
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"api": Settings().http_port, "metrics": Settings().metrics_port}
    assert {container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("liveness", "readiness")} == {
        "/healthz",
        "/readyz",
    }
    partitions = int(named("ConfigMap", "freshloop")["data"]["FRESHLOOP_PARTITIONS"])
    assert named("HorizontalPodAutoscaler", "freshloop-worker")["spec"]["maxReplicas"] <= partitions


def test_the_autoscaler_knows_a_metric_of_ours():
    from prometheus_client import CollectorRegistry

    from streams.metrics import WorkerMetrics

    registry = CollectorRegistry()
    WorkerMetrics(registry)
    (metric,) = named("HorizontalPodAutoscaler", "freshloop-worker")["spec"]["metrics"]
    (rule,) = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.values.yaml").read_text())["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert rule["name"]["as"] in {family.name for family in registry.collect()}


def test_kustomize_names_every_file():
    folder = DEPLOY / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {file for file, _ in KUBERNETES}
    if shutil.which("kubectl"):
        made = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
        assert made.returncode == 0, made.stderr
        assert len(list(yaml.safe_load_all(made.stdout))) == len(KUBERNETES)


def pins(path):
    """Return name and version of every locked package, a marker with it."""
    return set(re.findall(r"^([a-z0-9._-]+==[^ \\]+)", path.read_text(), re.M))


def test_the_image_holds_what_the_project_needs_as_it_is_locked():
    image, whole = pins(DEPLOY / "image/requirements.lock"), pins(ROOT / "requirements.lock")
    assert image <= whole, f"run 'make lock': {sorted(image - whole)}"
    project = PROJECT["project"]
    names = {pin.partition("==")[0] for pin in image}
    needed = {re.split(r"[^A-Za-z0-9_-]", one)[0].lower() for one in project["dependencies"]}
    assert needed <= names, f"run 'make lock': {sorted(needed - names)} missing"
    assert not {"pytest", "mypy", "playwright"} & names


def test_the_image_copies_what_there_is_and_runs_as_nobody():
    text = (DEPLOY / "image/Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            kept = (ROOT / ".dockerignore").read_text().splitlines()
            assert f"!{source.split('/')[0]}" in kept, f"{source} is ignored"
    assert re.findall(r"^USER (.*)$", text, re.M) == ["10001:10001"]
    assert all(f"COPY {name} /src/{name}" in text for name in PACKAGES)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed; 'make tools' does it")
def test_prometheus_takes_the_configuration_of_compose(tmp_path):
    for path in (DEPLOY / "compose/prometheus.yml", DEPLOY / "prometheus/rules.yml", DEPLOY / "prometheus/alerts.yml"):
        shutil.copy(path, tmp_path)
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_of_the_image_holds_every_file_that_the_packages_read(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = set(listed.stdout.split()) - held
    assert not missing
    (entry,) = [name for name in held if name.endswith("entry_points.txt")]
    assert b"freshloop = streams.main:main" in zipfile.ZipFile(wheel).read(entry)
