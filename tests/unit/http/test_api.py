"""The API before a worker without Kafka: every route, limits, errors, forwarding."""

from __future__ import annotations

import asyncio
import json

import httpx
import msgspec
import pytest

from streams.clock import Clock
from streams.core.events import Kind, Video
from streams.http.api import make_api
from streams.http.directory import Directory, announcements, partition_of
from streams.http.forward import FORWARDED
from streams.http.guard import MAX_BODY_BYTES, viewer_token
from tests.fakes import video
from tests.served import FakeWorker, service


@pytest.fixture
def worker(make_settings):
    return FakeWorker(make_settings(partitions=2))


def ask(worker, method, path, token="", observe=lambda *_: None, **kwargs):
    """Return the answer to one request."""

    async def call():
        app = make_api(service(worker), token, observe, Clock())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://w") as client:
            return await client.request(method, path, **kwargs)

    return asyncio.run(call())


def event(**changes):
    good = {"event_id": "e1", "user_id": "ann", "type": "like", "event_time_ms": 5, "video_id": "v1"}
    return {name: value for name, value in (good | {"source": "organic"} | changes).items() if value is not ...}


def test_a_newcomer_gets_a_slate_from_a_session_that_is_opened_for_them(worker):
    answer = ask(worker, "GET", "/v1/users/ann/slate?k=3")
    assert answer.status_code == 200
    slate = answer.json()
    assert [one.type for one in worker.published] == ["open"]
    assert slate["event_id"] == worker.published[0].event_id
    assert [item["position"] for item in slate["items"]] == [0, 1, 2]
    assert {item["video_id"] for item in slate["items"]} <= {f"v{number}" for number in range(12)}
    assert slate["items"][0]["video"]["video_id"] == slate["items"][0]["video_id"]


def test_the_last_slate_is_given_again_until_a_fresh_one_is_asked_for(worker):
    first = ask(worker, "GET", "/v1/users/ann/slate").json()
    assert ask(worker, "GET", "/v1/users/ann/slate").json() == first
    assert ask(worker, "GET", "/v1/users/ann/slate?fresh=true").json()["slate_id"] != first["slate_id"]


def test_an_event_answers_with_the_slate_that_it_triggers(worker):
    answer = ask(worker, "POST", "/v1/events?wait=true", json=event())
    assert answer.status_code == 202
    found = answer.json()
    assert found["accepted"] == [{"event_id": "e1", "partition": partition_of("ann", 2)}]
    assert found["slate"]["event_id"] == "e1"
    assert "v1" not in {item["video_id"] for item in found["slate"]["items"]}
    assert found["event_to_slate_ms"] >= 0


def test_events_are_taken_all_or_none(worker):
    answer = ask(worker, "POST", "/v1/events", json=[event(), event(event_id="e2", user_id=...)])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["error"].startswith("event 1: ")
    assert worker.published == []
    assert ask(worker, "POST", "/v1/events", json=[event(), event(event_id="e2")]).status_code == 202
    assert [one.event_id for one in worker.published] == ["e1", "e2"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not-decodable"),
        (b"[1", "not-decodable"),
        (b"[]", "count"),
        (b"[1]", "not-decodable"),
        (b'"a"', "not-decodable"),
        (b"\xff\xfe", "not-decodable"),
        (b"[" * 100_000, "not-decodable"),
        (json.dumps([event()] * 501).encode(), "count"),
        (json.dumps(event(schema=9)).encode(), "schema-version"),
        (json.dumps(event(watch_ms=-1)).encode(), "invalid"),
        (json.dumps(event(note="x" * 70_000)).encode(), "too-large"),
    ],
)
def test_what_is_no_event_is_refused_with_a_sentence(worker, body, code):
    answer = ask(worker, "POST", "/v1/events", content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["error"]
    assert worker.published == []


def test_a_body_beyond_the_limit_is_refused_whether_it_says_so_or_not(worker):
    async def drip():
        for _ in range(MAX_BODY_BYTES // 1000 + 1):
            yield b" " * 1000

    for content in (b" " * (MAX_BODY_BYTES + 1), drip()):
        answer = ask(worker, "POST", "/v1/events", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize("k", ["0", "-1", "201", "many", "1e3"])
def test_k_is_checked(worker, k):
    answer = ask(worker, "GET", f"/v1/users/ann/slate?k={k}")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("k: ")


def test_a_recovering_worker_says_so_and_never_gives_an_empty_slate(worker):
    worker.ready = False
    assert ask(worker, "GET", "/healthz").json()["status"] == "recovering"
    for path in ("/readyz", "/v1/users/ann/slate", "/v1/users/ann/explanation"):
        answer = ask(worker, "GET", path)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "recovering", "1")


def test_a_pool_without_videos_is_no_empty_slate_and_the_first_video_ends_that(make_settings):
    worker = FakeWorker(make_settings(), videos=0)
    answer = ask(worker, "GET", "/v1/users/ann/slate")
    assert (answer.status_code, answer.json()["code"]) == (503, "no-videos")
    worker.pool.add([video(1, worker.clock.now_ms())])
    assert [item["video_id"] for item in ask(worker, "GET", "/v1/users/ann/slate").json()["items"]] == ["v1"]


def test_what_is_over_since_the_slate_was_made_is_not_in_the_answer(make_settings):
    worker = FakeWorker(make_settings(), videos=2)
    now = worker.clock.now_ms()
    facts = {"kind": "product", "price": 9.5, "currency": "EUR", "stock": 1}
    product = Video(video_id="p", author_id="a", published_ms=now, **facts | {"kind": Kind.PRODUCT})
    worker.pool.add([product])
    slate = ask(worker, "GET", "/v1/users/ann/slate").json()
    places = {item["video_id"]: item["position"] for item in slate["items"]}
    shown = next(item["video"] for item in slate["items"] if item["video_id"] == "p")
    assert shown.items() >= facts.items()
    worker.pool.add([msgspec.structs.replace(product, stock=0)])
    again = ask(worker, "GET", "/v1/users/ann/slate").json()
    assert again["slate_id"] == slate["slate_id"]
    del places["p"]
    assert {item["video_id"]: item["position"] for item in again["items"]} == places
    for number in range(2):
        worker.pool.withdraw(f"v{number}")
    worker.pool.add([video(5, now)])
    new = ask(worker, "GET", "/v1/users/ann/slate").json()
    assert new["slate_id"] != slate["slate_id"]
    assert [item["video_id"] for item in new["items"]] == ["v5"]


def test_what_is_over_stays_away_when_its_slot_is_given_to_another(make_settings):
    worker = FakeWorker(make_settings(), videos=64)  # as many as the pool holds
    shown = [item["video_id"] for item in ask(worker, "GET", "/v1/users/ann/slate").json()["items"]]
    worker.pool.withdraw(shown[0])
    worker.pool.add([video(99, worker.clock.now_ms())])
    assert worker.pool.slot(shown[0]) == -1
    assert [item["video_id"] for item in ask(worker, "GET", "/v1/users/ann/slate").json()["items"]] == shown[1:]


def test_nothing_is_waited_for_where_no_slate_can_come(worker, monkeypatch):
    monkeypatch.setattr(worker.board, "expecting", None)  # would fail
    follow = event(type="follow", other_id="a7", video_id=...)
    answer = ask(worker, "POST", "/v1/events?wait=true", json=follow)
    assert (answer.status_code, answer.json().get("slate")) == (202, None)


def test_a_slate_that_does_not_come_is_waited_for_in_vain_only_for_a_while(worker, monkeypatch):
    monkeypatch.setattr("streams.http.service.WAIT_S", 0.05)
    worker.mute = True
    answer = ask(worker, "GET", "/v1/users/ann/slate")
    assert (answer.status_code, answer.json()["code"]) == (503, "no-slate")
    answer = ask(worker, "POST", "/v1/events?wait=true", json=event())
    assert (answer.status_code, answer.json()["slate"]) == (202, None)


def test_what_kafka_does_not_acknowledge_is_not_accepted(worker):
    worker.deaf = True
    answer = ask(worker, "POST", "/v1/events", json=event())
    assert (answer.status_code, answer.json()["code"]) == (503, "broker")


def test_without_the_token_only_the_probes_answer(worker):
    for path in ("/healthz", "/readyz"):
        assert ask(worker, "GET", path, token="s3cret").status_code == 200
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
        answer = ask(worker, "GET", "/v1/models", token="s3cret", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "token")
        assert ask(worker, "GET", "/v1/openapi.json", token="s3cret", headers=headers).status_code == 401
    good = {"authorization": "Bearer s3cret"}
    assert ask(worker, "GET", "/v1/models", token="s3cret", headers=good).status_code == 200


def test_versions_are_listed_promoted_and_rolled_back(worker):
    assert ask(worker, "GET", "/v1/models").json()["serving"] == 2
    done = ask(worker, "POST", "/v1/models/current", json={"version": None, "reason": "worse"}).json()
    assert (done["version"], done["was"], done["changed"]) == (1, 2, True)
    refused = ask(worker, "POST", "/v1/models/current", json={"version": 7})
    assert (refused.status_code, refused.json()["error"].split(";")[0]) == (409, "there is no version 7")
    for body in ({}, {"version": -1}, {"version": 1, "force": True}, {"version": "1"}):
        assert ask(worker, "POST", "/v1/models/current", json=body).status_code == 422


def test_errors_of_the_web_are_sentences_too(worker):
    assert ask(worker, "GET", "/v2/users").json() == {"error": "there is no such path", "code": "no-such-path"}
    answer = ask(worker, "PUT", "/v1/events")
    assert (answer.status_code, answer.json()["error"]) == (405, "this path does not take PUT")


def test_a_fault_of_ours_shows_no_trace(worker):
    worker.board = None
    answer = ask(worker, "GET", "/v1/users/ann/slate")
    assert (answer.status_code, answer.json()["code"]) == (500, "fault")
    assert "NoneType" not in answer.text


def test_requests_are_counted_by_route_without_a_user_in_the_label(worker):
    seen = []
    ask(worker, "GET", "/v1/users/ann/slate", observe=lambda *facts: seen.append(facts))
    ask(worker, "GET", "/nowhere", observe=lambda *facts: seen.append(facts))
    assert [facts[:2] for facts in seen] == [("/v1/users/{user_id}/slate", 200), ("none", 404)]


def announced(worker, number, name, url):
    records = announcements([number], name, url, 5)
    worker.directory.feed([type("R", (), {"key": one.key, "value": one.value}) for one in records])


@pytest.fixture
def elsewhere(make_settings):
    """A worker that owns the partition which is not ann's."""
    settings = make_settings(partitions=2)
    return FakeWorker(settings, partitions=[1 - partition_of("ann", 2)])


def test_a_request_for_a_user_of_another_worker_is_handed_on_once(elsewhere, monkeypatch):
    announced(elsewhere, partition_of("ann", 2), "w2", "http://10.0.0.2:19080")
    asked = []

    class Client(httpx.AsyncClient):
        async def request(self, method, url, **kwargs):
            if "10.0.0.2" not in str(url):
                return await super().request(method, url, **kwargs)
            asked.append((method, url, kwargs["content"], kwargs["headers"]))
            return httpx.Response(200, json={"from": "w2"}, headers={"retry-after": "3"})

    monkeypatch.setattr("httpx.AsyncClient", Client)
    headers = {"authorization": "Bearer t", "cookie": "c=1"}
    answer = ask(elsewhere, "GET", "/v1/users/ann/slate?k=2", token="t", headers=headers)
    assert (answer.json(), answer.headers["retry-after"]) == ({"from": "w2"}, "3")
    (one,) = asked
    assert one[:2] == ("GET", "http://10.0.0.2:19080/v1/users/ann/slate?k=2")
    assert one[3] == {"authorization": "Bearer t", FORWARDED: "w1"}
    moving = ask(elsewhere, "GET", "/v1/users/ann/slate", headers={FORWARDED: "w3"})
    assert (moving.status_code, moving.json()["code"], len(asked)) == (503, "moving", 1)


def test_an_owner_that_does_not_answer_is_named(elsewhere):
    announced(elsewhere, partition_of("ann", 2), "w2", "http://127.0.0.1:1")
    answer = ask(elsewhere, "GET", "/v1/users/ann/slate")
    assert (answer.status_code, answer.json()["code"]) == (503, "owner-down")
    assert "w2" in answer.json()["error"]


def test_a_partition_that_nobody_announced_is_recovering(elsewhere):
    assert ask(elsewhere, "GET", "/v1/users/ann/slate").json()["code"] == "recovering"


def test_events_of_any_user_are_taken_by_any_worker(elsewhere):
    assert ask(elsewhere, "POST", "/v1/events", json=event()).status_code == 202
    assert [one.event_id for one in elsewhere.published] == ["e1"]


def test_the_last_announcement_of_a_partition_holds_and_noise_changes_nothing():
    directory = Directory()
    record = lambda key, value: type("R", (), {"key": key, "value": value})  # noqa: E731
    first, second = announcements([0], "w1", "http://a:1", 1)[0], announcements([0], "w2", "http://b:1", 2)[0]
    noise = [record(b"0", b"\xff"), record(b"1", second.value), record(b"0", None)]
    directory.feed([record(*first[:2]), record(*second[:2]), *noise])
    assert (directory.owner(0).worker, directory.owner(1)) == ("w2", None)
    assert directory.as_list()[0]["url"] == "http://b:1"


def test_an_explanation_says_what_the_state_rests_on(worker):
    assert ask(worker, "GET", "/v1/users/ann/explanation").json()["code"] == "unknown-user"
    ask(worker, "POST", "/v1/events", json=event(watch_ms=9_000, duration_ms=10_000))
    ask(worker, "POST", "/v1/events", json=event(event_id="e2", video_id="v2", type="skip", event_time_ms=65_000))
    found = ask(worker, "GET", "/v1/users/ann/explanation").json()
    assert [(one["video"]["video_id"], one["actions"]) for one in found["events"]] == [
        ("v1", ["like"]),
        ("v2", ["skip"]),
    ]
    assert found["events"][0]["watch_ratio"] == pytest.approx(0.9, abs=0.01)
    assert found["state"]["steps"] == 2
    assert found["items"][0]["video"]["video_id"] not in ("v1", "v2")
    assert len(found["map"]["trail"]) == 3


def test_the_policy_of_an_arm_is_named(worker):
    ask(worker, "POST", "/v1/events", json=event(user_id="ann@popular"))
    assert ask(worker, "GET", "/v1/users/ann@popular/explanation").json()["policy"] == "popular"


@pytest.mark.parametrize(
    ("method", "path", "whose", "body", "status"),
    [
        ("GET", "/v1/users/ann/slate", "ann", None, 200),
        ("GET", "/v1/users/bob/slate", "ann", None, 401),
        ("GET", "/v1/users/ann%40home/slate", "ann@home", None, 200),
        ("GET", "/v1/users", "ann", None, 401),
        ("GET", "/v1/models", "ann", None, 401),
        ("POST", "/v1/models/current", "ann", {"version": 1}, 401),
        ("POST", "/v1/events", "ann", event(), 202),
        ("POST", "/v1/events", "ann", [event(), event(event_id="e2", user_id="bob")], 403),
        ("POST", "/v1/events", "nobody", event(), 403),
    ],
)
def test_a_viewers_token_opens_what_is_the_viewers(worker, method, path, whose, body, status):
    headers = {"authorization": f"Bearer {viewer_token('secret', whose)}"}
    answer = ask(worker, method, path, token="secret", headers=headers, json=body)
    assert answer.status_code == status, answer.text
    if status > 400:
        assert worker.published == []


def test_a_forgotten_user_gets_no_slate_and_is_told_so(worker):
    answer = ask(worker, "GET", "/v1/users/gone/slate")
    assert (answer.status_code, answer.json()["code"]) == (410, "forgotten")
    assert worker.published == []
