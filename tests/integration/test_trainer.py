"""The trainer against the real broker: versions from feedback, restarts that count nothing twice, rollbacks."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from deploy.scrape import scrape
from model.cli import models_app
from model.publish import current_record
from model.standard import STANDARD
from model.trainer_cli import built_trainer, quiet_tensorflow
from model.trainer_metrics import TrainerMetrics
from streams.admin import create_topics
from streams.codecs import encode
from streams.core.hashing import bucket
from streams.core.ports import trial_salt
from streams.topics import Topics
from tests.conftest import free_ports
from tests.running import environment
from tests.trainers import SMALL, published, send
from tests.training.world import World

pytestmark = [pytest.mark.integration, pytest.mark.training]


@pytest.fixture
def settings(broker, make_settings):
    quiet_tensorflow(threads=1)
    found = make_settings(partitions=2, frozen_after=300, **SMALL)
    create_topics(found)
    return found


@pytest.fixture
def producer(broker):
    found = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    yield found
    found.close()


@pytest.fixture
def world():
    return World(viewers=60, videos=200, topics=12, authors=40)


@contextmanager
def trainer(settings):
    metrics = CollectorRegistry()
    with built_trainer(settings, TrainerMetrics(metrics)) as found:
        found.start(lambda: False)
        yield found, metrics


def rounds(found, count, polls=100):
    """Step until so many rounds are done."""
    done = []
    for _ in range(polls):
        one = found.step()
        if one is not None:
            done.append(one)
        if len(done) == count:
            return done
    raise AssertionError(f"{len(done)} of {count} rounds in {polls} polls")


def teach(found, producer, settings, world):
    """Send what one round needs and return that round."""
    send(producer, settings, world, 400)
    (done,) = rounds(found, 1)
    return done


def settle(found, polls=10):
    """Poll without a round being due."""
    assert all(found.step() is None for _ in range(polls))


def test_from_nothing_to_versions_and_on_after_a_restart(settings, producer, world):
    send(producer, settings, world, 400)
    with trainer(settings) as (found, metrics):
        (first,) = rounds(found, 1)
        second = teach(found, producer, settings, world)
        assert first.verdict.accepted
        assert second.verdict.accepted
        assert metrics.get_sample_value("freshloop_trainer_rounds_total", {"result": "accepted"}) == 2
        assert metrics.get_sample_value("freshloop_trainer_records_total", {"result": "new"}) == 800

    registry = published(settings)
    current = registry.current()
    assert current.number == 2
    assert (current.manifest.parent, registry.manifests[1].parent) == (1, 0)
    through = current.manifest.trained_through
    assert 640 <= through <= 800  # the newest fifth of the second 400 is held back
    assert sum(current.manifest.trained_through_offsets.values()) == through
    assert current.manifest.evaluation.reason.startswith("accepted: log-loss")
    assert current.manifest.trained_through_ms <= current.manifest.created_ms
    told, carried = current.manifest.standard["log_duration"], current.weights[STANDARD][:, 0]
    assert (told.count, told.mean, told.deviation) == tuple(carried.tolist())
    shown = CliRunner().invoke(models_app, ["show", "2"], env=environment(settings)).stdout
    assert f"mean {told.mean:.3f}, deviation {told.deviation:.3f} over {len(world.catalogue)} videos" in shown

    with trainer(settings) as (found, metrics):  # a restart
        settle(found)
        assert metrics.get_sample_value("freshloop_trainer_records_total", {"result": "again"}) == through
        assert metrics.get_sample_value("freshloop_trainer_records_total", {"result": "new"}) == 800 - through
        assert found.net.steps == first.steps + second.steps  # the optimiser goes on
        np.testing.assert_array_equal(found.net.export()["gru.kernel"], current.weights["gru.kernel"])
        third = teach(found, producer, settings, world)
        assert third.new <= 1200 - through

    registry = published(settings)
    assert (registry.current().number, registry.current().manifest.parent) == (3, 2)
    manifest = registry.current().manifest
    assert sum(manifest.trained_through_offsets.values()) == manifest.trained_through > through


def test_after_a_rollback_the_next_round_starts_from_the_older_version(settings, producer, world):
    with trainer(settings) as (found, _):
        teach(found, producer, settings, world)
        teach(found, producer, settings, world)
        learned = len(found.store.replay(10_000, np.random.default_rng(0)))
        registry = published(settings)
        back = current_record(settings.model_name, registry.named.epoch + 1, 1, "tried by a test")
        producer.send(Topics(settings).models, key=back.key, value=back.value, partition=0)
        producer.flush()
        settle(found)
        np.testing.assert_array_equal(found.net.export()["gru.kernel"], registry.version(1).weights["gru.kernel"])
        assert 0 < len(found.store.replay(10_000, np.random.default_rng(0))) < learned
        teach(found, producer, settings, world)
    registry = published(settings)
    assert (registry.current().number, registry.current().manifest.parent) == (3, 1)
    newest = registry.manifests
    assert newest[3].trained_through_offsets[0] > newest[2].trained_through_offsets[0]
    assert newest[3].trained_through < newest[2].trained_through + 480


def test_a_refused_round_is_recorded_and_the_incumbent_serves_on(settings, producer, world):
    with trainer(settings) as (found, metrics):
        teach(found, producer, settings, world)
        found.learner.options = replace(found.learner.options, margin=-10.0)  # nothing is that much better
        refused = teach(found, producer, settings, world)
        assert not refused.verdict.accepted
        assert metrics.get_sample_value("freshloop_trainer_rounds_total", {"result": "refused"}) == 1
        settle(found)  # the same examples are not tried again at once
        found.learner.options = replace(found.learner.options, margin=10.0)
        third = teach(found, producer, settings, world)
        assert third.new > 400  # those of the refused round are trained on again
    registry = published(settings)
    assert registry.current().number == 3
    assert registry.manifests[3].parent == 1
    assert not registry.manifests[2].evaluation.accepted
    assert registry.manifests[2].chunks == 0
    assert registry.manifests[2].evaluation.reason.startswith("refused: log-loss")


def name(producer, settings, version):
    """Put a version into service by another hand."""
    named = published(settings).named
    record = current_record(settings.model_name, (named.epoch if named else 0) + 1, version, "by another hand")
    producer.send(Topics(settings).models, key=record.key, value=record.value, partition=0)
    producer.flush()


def test_a_rollback_during_a_round_drops_the_candidate(settings, producer, world):
    with trainer(settings) as (found, _):
        teach(found, producer, settings, world)
        teach(found, producer, settings, world)
        learn = found.learner.round

        def overtaken():
            done = learn()
            name(producer, settings, 1)
            return done

        found.learner.round = overtaken
        dropped = teach(found, producer, settings, world)
        found.learner.round = learn
        registry = published(settings)
        assert dropped.weights is None
        assert (registry.current().number, registry.named.reason) == (1, "by another hand")
        assert registry.manifests[3].evaluation.reason.startswith("refused: version 1 was put into service")
        np.testing.assert_array_equal(found.net.export()["gru.kernel"], registry.current().weights["gru.kernel"])
        teach(found, producer, settings, world)
    registry = published(settings)
    assert (registry.current().number, registry.current().manifest.parent) == (4, 1)


def test_of_two_hands_with_one_epoch_the_first_in_the_topic_wins(settings, producer, world):
    with trainer(settings) as (found, _):
        teach(found, producer, settings, world)
        teach(found, producer, settings, world)
        say = found._outbox.name

        def late(current):
            name(producer, settings, 1)
            say(current)

        found._outbox.name = late
        teach(found, producer, settings, world)
        found._outbox.name = say
        registry = published(settings)
        assert (registry.current().number, registry.named.epoch) == (1, 3)
        np.testing.assert_array_equal(found.net.export()["gru.kernel"], registry.current().weights["gru.kernel"])
        teach(found, producer, settings, world)
    assert (published(settings).current().number, published(settings).current().manifest.parent) == (4, 1)


def test_a_version_that_lowers_the_live_reward_is_taken_back_by_itself(settings, producer, world):
    settings = settings.model_copy(update={"canary_share": 0.5, "canary_labels": 2000})

    def live(count, effect):
        """Send feedback as the workers would make it: each user's slates come from the version of its bucket."""
        named = published(settings).named
        for record in world.exposures(count):
            chosen = bucket(record.user_id, trial_salt(named.canary)) < named.share
            label = 0.4 + 0.01 * (record.offset % 7) + effect * chosen
            served = msgspec.structs.replace(record, label=label, model_version=(named.version, named.canary)[chosen])
            partition = int(record.user_id[1:]) % 2
            producer.send(
                Topics(settings).feedback, key=record.user_id.encode(), value=encode(served), partition=partition
            )
        producer.flush()

    with trainer(settings) as (found, _):
        teach(found, producer, settings, world)  # nothing served before it: version 1 needs no trial
        teach(found, producer, settings, world)
        named = published(settings).named
        assert (named.version, named.canary, named.share) == (1, 2, 0.5)
        live(250, -0.2)
        settle(found, 20)  # no round is due while a version is on trial
        registry = published(settings)
        assert (registry.named.version, registry.named.canary) == (1, 0)
        assert registry.named.reason.startswith("version 2 is taken back: mean label")
        np.testing.assert_array_equal(found.net.export()["gru.kernel"], registry.current().weights["gru.kernel"])
        teach(found, producer, settings, world)
        registry = published(settings)
        assert (registry.named.version, registry.named.canary, registry.manifests[3].parent) == (1, 3, 1)
    with trainer(settings) as (found, _):  # a restart in the middle of a trial
        np.testing.assert_array_equal(
            found.net.export()["gru.kernel"], published(settings).version(3).weights["gru.kernel"]
        )
        found._settings = settings.model_copy(update={"train_examples": 100_000, "canary_labels": 300})
        live(1500, 0.0)
        settle(found, 40)
    assert (published(settings).named.version, published(settings).named.canary) == (3, 0)
    assert published(settings).named.reason.startswith("version 3 passed its trial")


@pytest.mark.timeout(300)  # a niced process on a busy machine
def test_the_process_publishes_serves_metrics_and_ends_on_sigterm(settings, producer, world):
    (port,) = free_ports(1)
    argv = (sys.executable, "-m", "streams.main", "trainer", "--metrics-port", str(port))
    with subprocess.Popen(argv, env=os.environ | environment(settings), stderr=subprocess.PIPE, text=True) as process:
        try:
            send(producer, settings, world, 400)
            deadline = time.monotonic() + 240
            while not (scrape(port) or {}).get(("freshloop_trainer_model_version", ())):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        except BaseException:
            process.kill()
            print(process.communicate()[1])
            raise
    assert process.returncode == 0
    assert "version 1 accepted: log-loss" in said
    assert "Traceback" not in said
    assert all("freshloop.trainer" in line for line in said.splitlines()), said
    assert published(settings).current().number == 1


def test_a_mistake_is_one_sentence(make_settings, monkeypatch):
    (port,) = free_ports(1)
    monkeypatch.setenv("FRESHLOOP_BROKERS", f"127.0.0.1:{port}")
    argv = (sys.executable, "-m", "streams.main", "trainer")
    for arguments, wanted in (((), "no Kafka broker answers"), (("--loglevel", "loud"), "loud is not one of")):
        done = subprocess.run((*argv, *arguments), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("freshloop: ")
        assert wanted in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_read_is_counted_and_passed_over(settings, producer, world):
    topics = Topics(settings)
    producer.send(topics.feedback, key=b"u", value=b"\xc1 noise", partition=0)
    producer.send(topics.videos, key=b"v", value=b"\xc1 noise")
    send(producer, settings, world, 400)
    with trainer(settings) as (found, metrics):
        rounds(found, 1)
        assert metrics.get_sample_value("freshloop_trainer_records_total", {"result": "unreadable"}) == 1
    manifest = published(settings).current().manifest
    assert sum(manifest.trained_through_offsets.values()) == manifest.trained_through  # it has an offset, so it counts
