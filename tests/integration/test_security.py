"""A broker that asks for TLS, SCRAM and rights: parts work with theirs, and a refusal is one readable sentence."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError
from pydantic import SecretStr

from deploy import broker as embedded
from deploy import secured
from deploy.store import Layout
from model.publish import Piece
from model.topic import send
from producers.sending import Sender
from streams.admin import require_topics
from streams.codecs import Decoder
from streams.config import ConfigError, Settings
from streams.core.events import EventType, Slate
from streams.security import kafka_options, refusal
from streams.tail import slates
from streams.topics import Topics
from tests.conftest import free_ports
from tests.fakes import event, video
from tests.running import running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
slate_of = Decoder(Slate)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Settings of a secured broker, without a user."""
    port, controller = free_ports(2)
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("secured"), broker_port=port, controller_port=controller, broker_secured=True,
        partitions=2,
    )  # fmt: skip
    embedded.up(settings)
    embedded.users(settings)
    yield settings
    embedded.down(settings)


def as_user(cluster, user, folder=None):
    changed = secured.as_user(cluster, Layout.of(cluster), user)
    return changed.model_copy(update={"brokers": cluster.bootstrap} | ({"data_dir": folder} if folder else {}))


def say_hello(settings):
    with closing(Sender(settings)) as sender:
        sender.send("events", "u", event("u", EventType.OPEN))
        sender.flush()


def test_a_viewer_may_not_write_models_and_the_trainer_may_not_write_events(cluster):
    viewer, trainer = as_user(cluster, "viewer"), as_user(cluster, "trainer")
    with pytest.raises(ConfigError) as refused:
        send(viewer, [[Piece(b"default/current", b"{}")]])
    assert "user 'viewer' has no right to topic models" in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="'trainer' has no right to topic events"):
        say_hello(trainer)
    say_hello(viewer)
    send(trainer, [[Piece(b"other/current", b"{}")]])


def test_who_has_no_password_or_a_wrong_one_does_not_get_in(cluster):
    wrong = as_user(cluster, "viewer").model_copy(update={"kafka_password": SecretStr("guessed")})
    with pytest.raises(ConfigError, match="does not let user 'viewer' in by SASL_SSL: check FRESHLOOP_KAFKA_USER"):
        require_topics(wrong)
    stranger = Settings(brokers=cluster.bootstrap, partitions=2)
    with pytest.raises(ConfigError):
        require_topics(stranger)


def test_a_worker_serves_with_its_own_user(cluster, tmp_path, monkeypatch):
    worker, viewer = as_user(cluster, "worker", tmp_path), as_user(cluster, "viewer")
    monkeypatch.setenv("FRESHLOOP_KAFKA_PASSWORD", worker.kafka_password.get_secret_value())
    now = time.time_ns() // 1_000_000
    with running(worker.model_copy(update={"broker_secured": False}), worker_spec(worker)) as supervisor:
        with closing(Sender(viewer)) as sender:
            for number in range(20):
                sender.send("videos", f"v{number}", video(number, published_ms=now))
            sender.send("events", "guest", event("guest", EventType.OPEN, at=now))
            sender.flush()
        found = next(slates(viewer, "guest", from_start=True))
        supervisor.stop()
    assert found.user_id == "guest"
    log = Path(tmp_path / "logs" / "w1.log").read_text()
    assert worker.kafka_password.get_secret_value() not in log


def test_the_controller_takes_no_stranger(cluster):
    plain = Settings(brokers=f"127.0.0.1:{cluster.controller_port}")
    with pytest.raises(ConfigError):
        require_topics(plain)


def test_secrets_are_readable_by_their_owner_alone(cluster):
    root = Layout.of(cluster).root
    for path in [*secured.folder(Layout.of(cluster)).iterdir(), root / "server.properties"]:
        assert not path.stat().st_mode & 0o077, path
    log = (root / "kafka.log").read_text()
    assert secured.password(Layout.of(cluster), "admin") not in log


def test_a_refusal_of_the_cluster_names_the_user_and_the_topic(cluster):
    viewer = as_user(cluster, "viewer")
    with closing(KafkaProducer(**kafka_options(viewer))) as producer, pytest.raises(KafkaError) as refused:
        producer.send(Topics(viewer).models, b"x").get(20)
    assert re.search(r"user 'viewer' has no right to topic models", refusal(viewer, refused.value))
