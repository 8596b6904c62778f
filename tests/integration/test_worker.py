"""A real worker process on the real broker: slates, feedback, dead letters, kills."""

from __future__ import annotations

import shutil
import signal
import time

import msgspec
import pytest

from streams.admin import delete_topics
from streams.codecs import Decoder, encode
from streams.core.events import EventType, Feedback, Slate
from streams.letters import chosen, letter_of, letters, replay
from streams.topics import Topics, partition_of_key
from tests.fakes import event, video
from tests.running import publish, read, read_all, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

slate_of, feedback_of = Decoder(Slate), Decoder(Feedback)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fresh(count: int):
    return [video(number, published_ms=now_ms() - 1000 - number) for number in range(count)]


def slates_of(settings, count, timeout_s=30.0):
    records = read(settings, Topics(settings).recommendations, lambda found: len(found) >= count, timeout_s)
    return [slate_of(record.value) for record in records]


def broken(topic):
    good = {"schema": 1, "event_id": "e", "user_id": "b", "type": "watch", "event_time_ms": 5, "video_id": "v1"}
    packed = lambda **changes: msgspec.msgpack.encode({k: v for k, v in (good | changes).items() if v is not ...})  # noqa: E731
    rows = {
        "not-messagepack": (b"b", b"\xc1\xff\x00", "not-decodable"),
        "not-json": (b"b", b'{"event_id": ', "not-decodable"),
        "missing-field": (b"b", packed(event_time_ms=...), "invalid"),
        "wrong-type": (b"b", packed(event_time_ms="noon"), "invalid"),
        "nan": (b"b", packed(watch_ms=float("nan")), "invalid"),
        "infinite": (b"b", packed(watch_ms=float("inf")), "invalid"),
        "negative-duration": (b"b", packed(duration_ms=-5), "invalid"),
        "schema": (b"b", packed(schema=7), "schema-version"),
        "empty": (b"b", b"", "empty"),
        "null-key": (None, packed(), "null-key"),
        "noise": (b"b", bytes(range(256)) * 3516, "too-large"),
    }
    return rows, [{"topic": topic, "key": key, "value": value} for key, value, _ in rows.values()]


def test_broken_events_become_dead_letters_and_their_neighbours_are_applied(broker, make_settings):
    settings = make_settings(partitions=1)
    topics = Topics(settings)
    rows, raw = broken(topics.events)
    with running(settings, worker_spec(settings)):
        publish(settings, videos=fresh(30))
        for number, row in enumerate(raw):
            publish(settings, events=[event("a", number=number, at=now_ms(), event_id=f"a{number}")], raw=[row])
        publish(settings, events=[event("z", EventType.OPEN, at=now_ms(), event_id="last")])
        letters = read(settings, topics.dead_letters, lambda found: len(found) >= len(rows))
        slates = slates_of(settings, len(rows) + 1)
    assert [slate.event_id for slate in slates] == [*(f"a{number}" for number in range(len(rows))), "last"]
    assert [letter.value or b"" for letter in letters] == [value[:880_000] for _, value, _ in rows.values()]
    headers = [dict(letter.headers) for letter in letters]
    assert [one["reason"].decode() for one in headers] == [reason for _, _, reason in rows.values()]
    assert [int(one["offset"]) for one in headers] == [2 * number + 1 for number in range(len(rows))]


def test_a_stray_goes_home_and_dead_letters_are_driven_again(broker, make_settings):
    settings = make_settings(partitions=2)
    topics = Topics(settings)
    home = partition_of_key(b"ann", 2)
    stray = encode(event("ann", number=1, at=now_ms(), event_id="stray"))
    with running(settings, worker_spec(settings)):
        bad = {"topic": topics.events, "key": b"ann", "value": b"\xc1 noise"}
        publish(
            settings,
            fresh(5),
            [],
            [{"topic": topics.events, "key": b"ann", "value": stray, "partition": 1 - home}, bad],
        )
        (slate,) = slates_of(settings, 1)
        assert (slate.event_id, slate.slate_id.rpartition("-")[0][-1]) == ("stray", str(home))
        read(settings, topics.dead_letters, lambda found: len(found) == 1)
        sent, left = replay(settings, chosen(letters(settings), reasons=["not-decodable"]))
        assert ([one.number for one in sent], left) == ([0], [])
        first, second = read(settings, topics.dead_letters, lambda found: len(found) == 2)
        assert first.value == second.value == bad["value"]
        assert first.key == second.key == b"ann"
        assert chosen(letters(settings), newest=1) == [letter_of(second)]
        assert chosen(letters(settings), numbers=[0]) == [letter_of(first)]
        assert chosen(letters(settings), reasons=["empty"]) == []


def test_a_first_slate_needs_no_history_and_says_what_it_rests_on(broker, make_settings):
    settings = make_settings()
    with running(settings, worker_spec(settings)):
        publish(settings, videos=[*fresh(25), video(99, published_ms=now_ms() - 60 * 86_400_000)])
        time.sleep(1)
        sent = event("newcomer", EventType.OPEN, at=now_ms(), event_id="hello")
        publish(settings, events=[sent])
        (slate,) = slates_of(settings, 1)
        publish(settings, raw=[{"topic": Topics(settings).videos, "key": b"v0", "value": None}])
        time.sleep(1)
        shown = slate.items[0].video_id
        outcome = {"slate_id": slate.slate_id, "position": 0, "video_id": shown, "at": now_ms()}
        publish(
            settings,
            events=[
                event("newcomer", EventType.IMPRESSION, event_id="i", **outcome),
                event("newcomer", EventType.WATCH, event_id="w", watch_ms=9_000, **outcome),
            ],
        )
        second = slates_of(settings, 2)[1]
        (feedback,) = [feedback_of(record.value) for record in read(settings, Topics(settings).feedback, len)]
    assert (slate.event_id, slate.event_time_ms, slate.user_id) == ("hello", sent.event_time_ms, "newcomer")
    assert (slate.model_version, slate.candidates) == (0, 25)  # the expired video is no candidate
    assert slate.oldest_ms <= slate.youngest_ms <= slate.made_ms
    assert 0 < len(slate.items) <= settings.slate_size
    assert second.candidates == 24
    assert not {"v0", "v99", shown} & {item.video_id for item in second.items}
    assert (feedback.impression_id, feedback.video_id) == (f"{slate.slate_id}/0/{shown}", shown)
    assert feedback.label == pytest.approx(0.45)


def test_a_killed_worker_goes_on_where_its_states_end(broker, make_settings):
    settings = make_settings(poll_records=50)
    events = [
        event(f"u{number % 40}", number=number % 60, at=now_ms(), event_id=f"e{number}", watch_ms=100 * (number % 90))
        for number in range(3_000)
    ]
    spec = worker_spec(settings)
    with running(settings, spec) as parts:
        publish(settings, videos=fresh(60))
        time.sleep(1)
        for start, wiped in ((0, False), (1000, True), (2000, None)):
            publish(settings, events=events[start : start + 1000])
            slates_of(settings, start + 300)  # some of these events are applied, some are not
            if wiped is not None:
                kill(parts, spec.name)
                if wiped:
                    shutil.rmtree(settings.data_dir / "workers")
                parts.start(spec)
        ids = lambda found: {feedback_of(record.value).impression_id for record in found}  # noqa: E731
        read(settings, Topics(settings).feedback, lambda found: len(ids(found)) == len(events), 60)
    feedback = [feedback_of(record.value) for record in read_all(settings, Topics(settings).feedback)]
    assert {(one.impression_id, one.revision) for one in feedback} == {(one.event_id, 0) for one in events}
    slates = [slate_of(record.value) for record in read_all(settings, Topics(settings).recommendations)]
    assert {slate.event_id for slate in slates} == {one.event_id for one in events}
    content: dict[str, set] = {}
    for slate in slates:
        content.setdefault(slate.slate_id, set()).add(tuple(item.video_id for item in slate.items))
    assert len(content) == len(events)
    assert all(len(versions) == 1 for versions in content.values())  # published again, the same to the letter


def kill(parts, name):
    parts.kill(name, signal.SIGKILL)
    while name in parts.running():
        parts.poll(0.1)
    parts.poll(0.2)


def test_two_workers_share_the_partitions(broker, make_settings):
    settings = make_settings(session_timeout_s=6)
    first, second = worker_spec(settings, "w1"), worker_spec(settings, "w2")
    users = [f"u{number}" for number in range(40)]

    def send(round_number):
        publish(
            settings, events=[event(u, number=round_number, at=now_ms(), event_id=f"{u}-{round_number}") for u in users]
        )

    with running(settings, first) as parts:
        publish(settings, videos=fresh(50))
        send(0)
        slates_of(settings, 40)
        parts.start(second)
        for round_number in range(1, 12):
            send(round_number)
            time.sleep(0.5)
        slates_of(settings, 40 * 12, 60)
        parts.stop("w1")
        send(12)
        slates = slates_of(settings, 40 * 13, 60)
    assert {slate.event_id for slate in slates} == {f"{user}-{number}" for user in users for number in range(13)}
    assert len({slate.slate_id for slate in slates}) == 40 * 13


def test_states_of_a_wiped_topic_are_not_taken_for_the_new_ones(broker, make_settings):
    settings = make_settings(partitions=1)
    spec = worker_spec(settings)
    for number in range(2):
        with running(settings, spec):
            publish(settings, videos=fresh(5), events=[event("u", number=1, at=now_ms(), event_id=f"e{number}")])
            (slate,) = slates_of(settings, 1)
            read(settings, Topics(settings).states, lambda found: len(found) >= 2)
        delete_topics(settings)
        assert (slate.event_id, slate.state_offset) == (f"e{number}", 0)


def test_groups_of_two_prefixes_are_two(broker, make_settings):
    ours, theirs = (make_settings(partitions=1, app_id="one-name") for _ in range(2))
    for settings in (ours, theirs):  # the second joins while the first one's session has not ended
        with running(settings, worker_spec(settings, "w1")) as workers:
            publish(settings, videos=fresh(30), events=[event("u", EventType.OPEN, at=now_ms())])
            assert len(slates_of(settings, 1)) == 1
            workers.kill("w1")
