"""A backup, restored under other topics with another number of partitions, where a worker goes on with it."""

import json

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from streams.admin import create_topics
from streams.clock import Clock
from streams.codecs import Decoder
from streams.config import environment
from streams.configured import step_config
from streams.core.events import Event, EventType, Slate, Source
from streams.core.hashing import key64
from streams.core.layout import steps_of, user_key
from streams.core.pool import FreshPool
from streams.core.state import UserStates
from streams.http.directory import partition_of
from streams.main import app
from streams.state_store import META_KEY, Meta
from streams.topics import Topics
from tests.fakes import video
from tests.running import publish, read, read_all, running, worker_spec

pytestmark = pytest.mark.integration
NOW_MS = Clock().now_ms()
USERS, VIDEOS, SEEN = 30, 100, 70  # more seen videos than a chunk holds


def states_of(settings):
    """Records of users who have made five steps and seen the first `SEEN` videos."""
    pool = FreshPool(128, 10**12, 10**12)
    pool.add([video(number, NOW_MS) for number in range(VIDEOS)])
    states = UserStates(step_config(settings).shape, pool)
    for user in (f"u{number}" for number in range(USERS)):
        row = states.row(user)
        states.table["steps"][row], states.table["last_offset"][row] = 5, 10_000
        for key in (f"v{number}" for number in range(SEEN)):
            states.mark_seen(states.rows([user]), np.array([pool.slot(key)]), np.array([key64(key)]))
    return states.pack([f"u{number}" for number in range(USERS)])


def backup(settings, *words):
    result = CliRunner().invoke(app, ["backup", *words, "--json"], env=environment(settings))
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def fill(settings):
    """Leave in the topics what workers with these users would have left, and one user who was erased since."""
    create_topics(settings)
    topic = Topics(settings).states
    records = [
        {"topic": topic, "key": key, "value": value, "partition": partition_of(key[1:].decode(), settings.partitions)}
        for key, value in states_of(settings).items() if key[:1] == b"u"
    ]  # fmt: skip
    records += [
        {"topic": topic, "key": key, "value": value, "partition": partition_of(key[1:-1].decode(), settings.partitions)}
        for key, value in states_of(settings).items() if key[:1] == b"s"
    ]  # fmt: skip
    gone = {"topic": topic, "key": user_key("gone"), "partition": 0}
    progress = {"topic": topic, "key": META_KEY, "value": msgspec.msgpack.encode(Meta(10_001)), "partition": 0}
    publish(settings, [video(number, NOW_MS) for number in range(VIDEOS)],
            raw=[*records, gone | {"value": records[0]["value"]}, gone | {"value": None}, progress])  # fmt: skip


def test_states_go_on_in_other_topics_with_more_partitions(broker, make_settings, tmp_path):
    old, new = make_settings(), make_settings(topic_prefix="restored-", app_id="restored", partitions=6)
    file = tmp_path / "freshloop.backup"
    fill(old)
    saved = backup(old, "save", str(file))
    assert saved == {"states": 2 * USERS, "videos": VIDEOS}
    create_topics(new)
    assert backup(new, "restore", str(file)) == saved
    refused = CliRunner().invoke(app, ["backup", "restore", str(file)], env=environment(new))
    assert "is not empty" in str(refused.exception)
    topics = Topics(new)
    with running(new, worker_spec(new)):
        again = [
            Event(event_id=f"e{number}", user_id=f"u{number}", type=EventType.WATCH, video_id="v90", watch_ms=9000,
                  event_time_ms=NOW_MS, source=Source.LOG)
            for number in range(USERS)
        ]  # fmt: skip
        publish(new, events=again)
        slates = read(new, topics.recommendations, lambda found: len({one.key for one in found}) >= USERS)
    seen = {f"v{number}" for number in range(SEEN)}
    decode = Decoder(Slate)
    assert not [one for one in slates if seen & set(decode(one.value).video_ids)]
    last = {row.key: row.value for row in read_all(new, topics.states) if row.key[:1] == b"u"}
    assert {key: steps_of(value) for key, value in last.items()} == {user_key(f"u{n}"): 6 for n in range(USERS)}
