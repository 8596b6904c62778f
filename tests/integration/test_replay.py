"""Replay of a small recorded log over the real broker, with a real worker process that is killed in the middle."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from producers.cluster import Cluster
from producers.lines import Damage
from producers.logs import KuairandLog
from producers.replay import Options, Replay
from streams.admin import create_topics
from streams.codecs import Decoder
from streams.config import ConfigError, load_settings
from streams.core.events import Event, Feedback, Slate
from streams.topics import Topics
from tests.fakes import event
from tests.kuairand import FIRST_MS, exposure, video_row, write
from tests.running import environment, publish, read_all, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ROWS, USERS, VIDEOS, DAMAGED = 20_000, 300, 200, 2


class Listener:
    """A view that remembers what it is told."""

    def __init__(self):
        self.told = []

    def say(self, text):
        self.told.append(text)

    def show(self, done, total):
        pass


def rows(count, seed=1, start=0):
    random.seed(seed)
    return [
        exposure(random.randrange(USERS), random.randrange(VIDEOS), FIRST_MS + 1000 * number, random.randrange(20_000))
        for number in range(start, start + count)
    ]


@pytest.fixture
def log(tmp_path):
    lines = rows(ROWS)
    lines[10:10] = ["no row at all"]
    lines[20:20] = [exposure(play="-1")]
    return write(tmp_path / "log", lines, [video_row(number, author=number // 2) for number in range(VIDEOS)])


def replay(settings, folder, view=None, look_after=lambda: None, **options):
    told = view or Listener()
    return Replay(settings, KuairandLog(folder), Options(extend_retention=True, **options), told, look_after).run()


def assert_whole(result, users):
    assert result.exactly_once, result
    assert (result.events, result.applied, result.slates, result.feedback) == (ROWS,) * 4
    assert (result.users, result.users_with_slate, result.dead_letters, result.damaged_lines) == (
        users,
        users,
        0,
        DAMAGED,
    )
    assert (result.slates_short, result.users_off) == (0, 0)


def test_every_exposure_is_applied_once_though_the_worker_is_killed_and_again_under_another_name(
    broker, make_settings, log
):
    settings = make_settings(session_timeout_s=6, poll_records=500)
    topics = Topics(settings)
    users = len({event.user_id for event in KuairandLog(log).events("r", Damage())})
    # With at most 12 times 500 of 20,000 events stored. Seen from here, all may be done once a third is confirmed.
    spec = worker_spec(settings.model_copy(update={"failpoint": "store-written:12"}), restart="always")
    with running(settings, spec) as supervisor:
        happened = []

        def look_after():
            happened.extend(supervisor.poll())
            if happened:
                spec.env.pop("FRESHLOOP_FAILPOINT", None)  # it starts again at a later look

        assert_whole(replay(settings, log, look_after=look_after, run="first"), users)
        assert [(one.kind, one.code) for one in happened] == [("exited", -9), ("restarted", None)]
        assert_whole(replay(settings, log, look_after=supervisor.poll, run="second"), users)
        again = replay(settings, log, look_after=supervisor.poll, run="first", resume=True)
        assert_whole(again, users)
    events = [Decoder(Event)(record.value) for record in read_all(settings, topics.events)]
    assert len(events) == len({event.event_id for event in events}) == 2 * ROWS
    feedback = [Decoder(Feedback)(record.value) for record in read_all(settings, topics.feedback)]
    assert {record.impression_id for record in feedback} == {event.event_id for event in events}
    slates = [Decoder(Slate)(record.value) for record in read_all(settings, topics.recommendations)]
    assert {slate.event_id for slate in slates} == {event.event_id for event in events}
    assert len({slate.slate_id for slate in slates}) == 2 * ROWS
    assert read_all(settings, topics.dead_letters) == []


def test_a_run_goes_on_where_it_ended(broker, make_settings, tmp_path):
    settings = make_settings()
    create_topics(settings)
    videos = [video_row(number) for number in range(VIDEOS)]
    part = write(tmp_path / "part", rows(200), videos)
    view = Listener()
    stalled = replay(settings, part, view, run="r", patience_s=1)
    assert (stalled.complete, stalled.exactly_once, stalled.events, stalled.applied) == (False, False, 200, 0)
    assert any("no worker reads" in text and "--workers 1" in text for text in view.told)
    whole = write(tmp_path / "whole", [*rows(200), *rows(300, 2, 200)], videos)
    with running(settings, worker_spec(settings)):
        result = replay(settings, whole, run="r", resume=True)
    assert result.exactly_once, result
    assert (result.events, result.applied, result.slates, result.feedback) == (500,) * 4
    assert len(read_all(settings, Topics(settings).events)) == 500


def test_old_records_are_kept_by_a_longer_retention_where_that_is_ours_to_set(broker, make_settings, log):
    settings = make_settings()
    create_topics(settings)
    with pytest.raises(ConfigError, match=r"would delete this log, .* say --extend-retention"):
        Replay(settings, KuairandLog(log), Options(run="r", patience_s=1), Listener()).run()
    assert retention_days(settings) == 7
    prefix = {"topic_prefix": settings.topic_prefix, "app_id": settings.app_id, "data_dir": settings.data_dir}
    embedded = load_settings(broker_port=broker.broker_port, **prefix)
    view = Listener()
    Replay(embedded, KuairandLog(log), Options(run="r", patience_s=1), view).run()
    assert retention_days(settings) > 1000
    assert sum("retention.ms is now" in text for text in view.told) == 1


def retention_days(settings):
    cluster = Cluster(settings)
    try:
        return int(cluster.topic_config(Topics(settings).events, "retention.ms")["retention.ms"]) / 86_400_000
    finally:
        cluster.close()


def test_topics_whose_time_has_passed_the_log_are_refused(broker, make_settings, log):
    settings = make_settings()
    create_topics(settings)
    publish(settings, events=[event()])  # stamped now
    with pytest.raises(ConfigError, match=r"200 of this log's 200 videos have expired.*FRESHLOOP_TOPIC_PREFIX"):
        replay(settings, log, run="r", patience_s=1)
    view = Listener()
    assert replay(settings, log, view, run="r", patience_s=5, force=True).events == ROWS


def test_the_command_starts_a_worker_makes_topics_and_ends_with_json(broker, make_settings, tmp_path):
    settings = make_settings(partitions=2)
    folder = write(tmp_path / "log", rows(300), [video_row(number) for number in range(VIDEOS)])
    command = [sys.executable, "-m", "streams.main", "replay", "kuairand", str(folder), "--workers", "1", "--json"]
    env = dict(os.environ) | environment(settings)
    command += ["--extend-retention", "--patience", "40"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert (result["events"], result["applied"], result["slates"], result["feedback"]) == (300,) * 4
    assert result["users"] == result["users_with_slate"]
    assert result["dead_letters"] == result["damaged_lines"] == 0
    assert "every one of 300 events was applied exactly once" in done.stderr
    assert "Traceback" not in done.stderr
