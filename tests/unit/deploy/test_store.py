import json
import os
import subprocess
import sys

import psutil
import pytest

from deploy import store
from deploy.store import BrokerError, Layout


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "broker")
    store.prepare_folder(layout)
    return layout


def format_logs(layout, identity=None):
    def do(given):
        layout.logs.mkdir()
        layout.meta.write_text(f"version=1\ncluster.id={identity or given}\nnode.id=1\n")

    return do


def test_nothing_yet_has_no_cluster(layout):
    assert store.cluster_id(layout) is None


def test_a_formatted_folder_has_the_id_it_was_given(layout):
    identity = store.format_store(layout, format_logs(layout))
    assert store.cluster_id(layout) == identity
    assert len(identity) == 22  # a UUID in Kafka's base64


def test_an_interrupted_formatting_counts_as_nothing_and_is_cleared(layout):
    def cut_short(identity):
        layout.logs.mkdir()
        (layout.logs / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.format_store(layout, cut_short)
    assert store.cluster_id(layout) is None
    store.format_store(layout, format_logs(layout))
    assert not (layout.logs / "half").exists()


def test_a_folder_with_something_else_is_refused(layout):
    (layout.root / "thesis.txt").write_text("x")
    with pytest.raises(BrokerError, match="FRESHLOOP_DATA_DIR"):
        store.cluster_id(layout)


def test_data_of_another_cluster_are_refused(layout):
    store.format_store(layout, format_logs(layout, "somebody-elses"))
    with pytest.raises(BrokerError, match="belongs to cluster somebody-elses"):
        store.cluster_id(layout)


def test_data_that_lost_their_mark_are_refused(layout):
    store.format_store(layout, format_logs(layout))
    layout.meta.unlink()
    with pytest.raises(BrokerError, match=r"meta\.properties is missing"):
        store.cluster_id(layout)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cluster_id": 3}'])
def test_a_damaged_mark_is_refused(layout, text):
    layout.mark.write_text(text)
    with pytest.raises(BrokerError, match="damaged"):
        store.cluster_id(layout)


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match="cannot be made"):
        store.prepare_folder(Layout(tmp_path / "file" / "broker"))


def test_a_comma_in_the_path_is_refused(tmp_path):
    with pytest.raises(BrokerError, match="comma"):
        store.prepare_folder(Layout(tmp_path / "a,b" / "broker"))


def test_values_are_escaped_for_a_properties_file():
    assert store._escaped("/tmp/a b\\c/ü/\U0001f600") == "/tmp/a b\\\\c/\\u00fc/\\ud83d\\ude00"


def test_properties_stay_on_the_loopback(make_settings):
    settings = make_settings()
    found = store.server_properties(Layout.of(settings), settings)
    assert found["listeners"].count("127.0.0.1") == 2
    assert found["auto.create.topics.enable"] == "false"
    assert found["offsets.topic.replication.factor"] == "1"


def test_a_recorded_process_is_found_by_pid_creation_time_and_folder(layout):
    code = "import time; print('up', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, str(layout.properties)], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()  # before that its command line may not be there yet
        store.record_process(layout, child.pid)
        assert store.running_process(layout) == psutil.Process(child.pid)
        record = json.loads(layout.pid.read_text())
        layout.pid.write_text(json.dumps(record | {"created": record["created"] - 60}))
        assert store.running_process(layout) is None
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_process_that_has_nothing_to_do_with_the_folder_is_not_the_broker(layout):
    store.record_process(layout, os.getpid())
    assert store.running_process(layout) is None


@pytest.mark.parametrize("text", ["", "12", '{"pid": "x"}', '{"pid": 1, "created": null}'])
def test_a_damaged_record_counts_as_no_process(layout, text):
    layout.pid.write_text(text)
    assert store.running_process(layout) is None


def test_a_process_that_is_gone_is_not_running(layout):
    child = subprocess.Popen([sys.executable, "-c", "", str(layout.properties)])
    store.record_process(layout, child.pid)
    child.wait()
    assert store.running_process(layout) is None
