"""Two trainer processes that learn as one, against the real broker: versions of both, a kill of one, and the end."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from kafka import KafkaProducer

from deploy.scrape import scrape
from streams.admin import create_topics
from streams.config import environment
from tests.conftest import free_ports
from tests.trainers import SMALL, published, send
from tests.training.world import World

pytestmark = [pytest.mark.integration, pytest.mark.training]
PATIENCE_S = 90.0


@pytest.fixture
def settings(broker, make_settings):
    trainers = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
    found = make_settings(partitions=2, frozen_after=300, trainers=trainers, text_rows=True, **SMALL)
    create_topics(found)
    return found


@contextmanager
def trainers(settings):
    """The processes, the chief first, and their metrics ports; what they said is shown when the test fails."""
    ports = free_ports(2)
    command = [sys.executable, "-m", "streams.main", "trainer"]
    children = []
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    for index, port in enumerate(ports):
        with (settings.data_dir / f"trainer-{index}.log").open("ab") as log:
            argv = [*command, "--index", str(index), "--metrics-port", str(port)]
            env = os.environ | environment(settings)
            children.append(subprocess.Popen(argv, env=env, stdout=log, stderr=subprocess.STDOUT))
    try:
        yield children, ports
    except BaseException:
        for index in range(2):
            print((settings.data_dir / f"trainer-{index}.log").read_text(errors="replace")[-3000:])
        raise
    finally:
        for child in children:
            child.kill()
            child.wait()


def await_version(settings, number, children):
    """The registry once a version serves."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        registry = published(settings)
        current = registry.current()
        if current is not None and current.number >= number:
            return registry
        assert all(child.poll() is None for child in children)
        time.sleep(0.5)
    raise AssertionError(f"no version {number} in {PATIENCE_S} s")


def test_two_trainers_publish_versions_of_what_both_read_and_end_together(settings):
    producer, world = KafkaProducer(bootstrap_servers=settings.bootstrap), World(viewers=60, videos=200, topics=12)
    with trainers(settings) as (children, ports):
        send(producer, settings, world, 500)
        first = await_version(settings, 1, children).current().manifest
        offsets = first.trained_through_offsets
        assert set(offsets) == {0, 1}
        assert min(offsets.values()) > 50  # of each one's partition
        assert sum(offsets.values()) == first.trained_through <= 500
        assert first.standard["log_duration"].count == len(world.catalogue)
        read = [scrape(port) for port in ports]
        new = ("freshloop_trainer_records_total", (("result", "new"),))
        assert min(one[new] for one in read) > 100
        assert sum(one[new] for one in read) == 500

        children[1].kill()
        assert children[0].wait(PATIENCE_S) == 1  # none goes on without the others

    with trainers(settings) as (children, _):  # a restart goes on from the version in service
        send(producer, settings, world, 500)
        current = await_version(settings, 2, children).current()
        assert np.abs(current.weights["table.text.rows"]).max() > 0  # learned by both, and fit to serve
        second = current.manifest
        assert second.parent == 1
        assert first.trained_through < second.trained_through <= 1000
        assert sum(second.trained_through_offsets.values()) == second.trained_through
        children[1].terminate()
        assert [child.wait(PATIENCE_S) for child in children] == [0, 0]
    producer.close()
