"""Real parts on the real broker: who a user is shows nowhere, and who asks to be forgotten is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from deploy.supervisor import ChildSpec
from streams.config import environment
from streams.pseudonyms import is_pseudonym, pseudonyms
from streams.topics import Topics
from tests.conftest import free_ports
from tests.fakes import event, video
from tests.running import publish, read, read_all, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

KEY = "a key for the tests of privacy"
SIMULATED = re.compile(rb"(?<![0-9a-z])u\d+@(online|popular)")


def freshloop(settings, *command):
    """Run a command to its end; return what it wrote."""
    return subprocess.run(
        [sys.executable, "-m", "streams.main", *command], env=os.environ | environment(settings),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_ids_show_nowhere_when_users_have_pseudonyms(broker, make_settings, monkeypatch):
    monkeypatch.setenv("FRESHLOOP_PSEUDONYM_KEY", KEY)
    (http,) = free_ports(1)
    settings = make_settings(partitions=2, arms={"online": "online", "popular": "popular"}, http_port=http)
    worker = worker_spec(settings, http_port=http)
    with running(settings, worker) as supervisor:
        (metrics,) = free_ports(1)
        supervisor.start(ChildSpec(
            "simulate", (sys.executable, "-m", "streams.main", "simulate", "--viewers", "30", "--rate", "150", "--for",
                         "5", "--arms", "online,popular", "--videos", "50", "--metrics-port", str(metrics)),
            environment(settings), restart="never",
        ))  # fmt: skip
        while not supervisor.poll(20.0):
            pass
        with httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=20) as api:
            slate = api.get("/v1/users/ann/slate").json()
            assert slate["user_id"] == "ann"
            assert "state" in api.get("/v1/users/u3@popular/explanation").json()
            users = api.get("/v1/users").json()["users"]
            assert all(is_pseudonym(user) for user in users)
            named = pseudonyms(settings)("ann")
            assert api.get(f"/v1/users/{named}/slate").json()["slate_id"] == slate["slate_id"]
        told = freshloop(settings, "explain", "u3@online", "--json")
        assert '"user_id": "u3@online"' in told.stdout, told.stderr
        shown = freshloop(settings, "tail", "--user", "ann", "--from-start", "--limit", "1", "--json")
        assert named in shown.stdout, shown.stderr
        scraped = httpx.get(f"http://127.0.0.1:{port_of(worker)}/metrics").content
    topics = Topics(settings)
    events = read_all(settings, topics.events)
    assert len(events) > 300
    everywhere = [scraped, *_files(settings.data_dir)]
    for topic in (topics.events, topics.recommendations, topics.feedback, topics.states, topics.dead_letters):
        everywhere += [(record.key or b"") + b"\n" + (record.value or b"") for record in read_all(settings, topic)]
    assert not [found for found in everywhere if SIMULATED.search(found) or b"ann" in found.split(b"\n")[0]]
    arms = {record.key.rpartition(b"@")[2] for record in events if record.key and b"@" in record.key}
    assert arms == {b"online", b"popular"}


def test_a_forgotten_user_is_in_no_table_no_changelog_and_no_file_and_gets_no_slates(broker, make_settings):
    (http,) = free_ports(1)
    settings = make_settings(partitions=2, http_port=http)
    topics = Topics(settings)
    with running(settings, worker_spec(settings, http_port=http)) as supervisor:
        publish(settings, videos=[video(number, published_ms=now_ms()) for number in range(60)])
        time.sleep(1.0)
        users = [f"viewer-{name}" for name in ("ann", "ann-marie", "bob")]
        publish(settings, events=[event(user, number=n, at=now_ms()) for n in range(30) for user in users])
        read(settings, topics.recommendations, lambda found: len(found) >= 90)

        found = freshloop(settings, "forget", "--verify", "viewer-ann")
        assert found.returncode == 1, found
        assert re.search(r"^changelog .*-states: \d+ found", found.stdout, re.MULTILINE)
        assert "nobody asked to forget this user" in found.stdout

        asked = last_line(freshloop(settings, "forget", "viewer-ann", "--wait", "5", "--json"))
        (receipt,) = [part for part in asked["parts"] if part["part"] == "worker w1"]
        assert receipt["removed"]["seen_videos"] == 30
        assert receipt["removed"]["cached_slates"] == 1
        _, first, end = receipt["changelog"]
        assert end - first == 1 + receipt["removed"]["records"]

        found = freshloop(settings, "forget", "--verify", "viewer-ann", "--json")
        assert found.returncode == 0, found.stdout
        left = {(place["kind"], place["where"]) for place in last_line(found)["places"]
                if place["found"]}  # fmt: skip
        assert left == {("topic", name) for name in (topics.events, topics.recommendations, topics.feedback)}
        with httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=20) as api:
            assert api.get("/v1/users/viewer-ann/slate").status_code == 410
            assert api.get("/v1/users/viewer-ann-marie/slate").status_code == 200
            before = len(read_all(settings, topics.recommendations))
            publish(settings, events=[event("viewer-ann", number=40, at=now_ms())])
            supervisor.kill("w1")
            supervisor.stop("w1")
            supervisor.start(worker_spec(settings, http_port=http))
            until(lambda: api.get("/v1/users/viewer-ann/slate").status_code == 410)
            assert freshloop(settings, "consent", "viewer-ann").returncode == 0
            until(lambda: api.get("/v1/users/viewer-ann/slate").status_code == 200)
            assert api.get("/v1/users/viewer-ann/explanation").json()["state"]["steps"] == 0
        slates = read_all(settings, topics.recommendations)
        assert len({record.value for record in slates}) == before + 1


def last_line(done):
    return json.loads(done.stdout.splitlines()[-1])


def until(holds, timeout_s=30.0):
    """Wait until something holds; an API that does not answer yet does not."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if holds():
                return
        time.sleep(0.2)
    raise AssertionError("it does not hold in time")


def now_ms():
    return time.time_ns() // 1_000_000


def port_of(spec):
    return spec.argv[spec.argv.index("--metrics-port") + 1]


def _files(folder: Path):
    """Return names and content of everything below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)).encode() + b"\n" + path.read_bytes() for path in paths]
