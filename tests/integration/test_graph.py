"""Ties through a real worker: whom one follows leads a slate, what a friend liked is found, and both are told."""

from __future__ import annotations

import httpx
import pytest

from streams.core.events import EventType
from tests.conftest import free_ports
from tests.fakes import event
from tests.integration.test_api import get, health, until
from tests.integration.test_worker import fresh, kill, now_ms
from tests.running import publish, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def tie(kind, other, user="ann"):
    return event(user, kind, at=now_ms(), video_id=None, other_id=other, event_id=f"{user}-{kind.value}-{other}")


def explained(port, user="ann"):
    return get(port, f"/v1/users/{user}/explanation").json()


def first(port):
    """Return the first item of a new slate, as it is explained."""
    assert get(port, "/v1/users/ann/slate?fresh=true").status_code == 200
    found = explained(port)
    return found["items"][0] if found["items"] else {"video": {}, "paths": []}


def test_followed_authors_and_likes_of_friends_reach_slates_and_explanations(broker, make_settings):
    settings = make_settings(partitions=2, friends_lift=9.0, follow_lift=6.0, exploration=0.0, threshold=0.0)
    (port,) = free_ports(1)
    with running(settings, worker_spec(settings, "w1", http_port=port)) as parts:
        publish(settings, videos=fresh(40))
        until(lambda: len(health(port).get("partitions", ())) == 2 and health(port)["videos"] == 40)
        publish(settings, events=[tie(EventType.FOLLOW, "a7"), tie(EventType.BEFRIEND, "bob")])
        until(lambda: first(port)["paths"][:1] == [{"kind": "follows", "author_id": "a7"}])
        assert explained(port)["state"] | {"follows": 1, "friends": 1} == explained(port)["state"]
        assert first(port)["video"]["author_id"] == "a7"
        liked = event("bob", EventType.LIKE, number=23, at=now_ms(), event_id="bob-likes")
        publish(settings, events=[liked])
        until(lambda: first(port)["video"].get("video_id") == "v23")
        path = first(port)["paths"][0]
        assert (path["kind"], path["user_id"]) == ("friend", "bob")
        kill(parts, "w1")
        parts.start(worker_spec(settings, "w1", http_port=port))
        until(lambda: is_explained(port) and first(port)["video"].get("video_id") == "v23", 60)  # from the changelog
        publish(settings, events=[tie(EventType.UNFRIEND, "bob")])
        until(lambda: first(port)["video"].get("author_id") == "a7")


def is_explained(port):
    try:
        answer = get(port, "/v1/users/ann/explanation")
    except httpx.HTTPError:
        return False
    return answer.status_code == 200
