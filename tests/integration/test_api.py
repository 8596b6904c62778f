"""The API of real workers: one owns the user's state, any can be asked."""

from __future__ import annotations

import time

import httpx
import pytest

from streams.core.events import EventType
from tests.conftest import free_ports
from tests.fakes import event
from tests.integration.test_worker import fresh, kill, now_ms
from tests.running import publish, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def until(holds, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def health(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).json()
    except httpx.HTTPError:
        return {}


def get(port, path):
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10)


def test_any_worker_answers_for_any_user_also_after_the_owner_died(broker, make_settings):
    settings = make_settings(session_timeout_s=6, partitions=4)
    ports = free_ports(2)
    specs = [worker_spec(settings, f"w{n}", http_port=port) for n, port in enumerate(ports)]
    users = [f"u{number}" for number in range(12)]
    with running(settings, *specs) as parts:
        publish(settings, videos=fresh(40))
        until(lambda: all(len(health(port).get("partitions", ())) == 2 for port in ports))
        until(lambda: all(len({one["worker"] for one in health(port)["workers"]}) == 2 for port in ports))
        slates = {user: [get(port, f"/v1/users/{user}/slate?k=5") for port in ports] for user in users}
        for first, second in slates.values():
            assert first.status_code == second.status_code == 200
            assert first.json() == second.json()  # the second gives the last slate again, wherever it is
        users_of = [set(get(port, "/v1/users").json()["users"]) for port in ports]
        assert users_of[0] | users_of[1] == set(users)
        assert users_of[0] & users_of[1] == set()
        answers(ports, users)
        explained(ports, users)
        orphan = min(users_of[1])
        kill(parts, "w1")
        refused = get(ports[0], f"/v1/users/{orphan}/slate")
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        until(lambda: get(ports[0], f"/v1/users/{orphan}/explanation").status_code == 200, 40)
        found = get(ports[0], f"/v1/users/{orphan}/explanation").json()
        assert (found["worker"], found["state"]["steps"]) == ("w0", 1)  # recovered from the changelog
        assert get(ports[0], f"/v1/users/{orphan}/slate").status_code == 200


def answers(ports, users):
    for number, user in enumerate(users):
        sent = event(user, EventType.LIKE, number=3, at=now_ms(), event_id=f"{user}-like")
        body = {"event_id": sent.event_id, "user_id": user, "type": "like", "event_time_ms": sent.event_time_ms}
        body |= {"video_id": "v3", "source": "organic"}
        answer = httpx.post(f"http://127.0.0.1:{ports[number % 2]}/v1/events?wait=true", json=body, timeout=10)
        assert answer.status_code == 202
        assert answer.json()["slate"]["event_id"] == sent.event_id
        assert "v3" not in {item["video_id"] for item in answer.json()["slate"]["items"]}


def explained(ports, users):
    found = [[get(port, f"/v1/users/{user}/explanation").json() for port in ports] for user in users]
    assert {one["worker"] for pair in found for one in pair} == {"w0", "w1"}
    for first, second in found:
        assert first == second
        assert first["events"][0]["video"]["video_id"] == "v3"
        assert first["items"][0]["terms"]
