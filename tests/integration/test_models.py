"""`freshloop models` against the real broker, seen by a worker's registry that follows the topic."""

import itertools
import json
import signal
import time
from contextlib import closing

import msgspec
import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from model import choose as choosing
from model.cli import models_app
from model.config import ModelConfig
from model.manifest import Evaluation
from model.publish import CHUNK_BYTES, Piece, current_record, records, tombstones
from model.registry import Registry
from model.topic import read, send
from model.weights import to_bytes
from streams.admin import BrokerUnreachable, create_topics
from streams.codecs import Decoder
from streams.config import ConfigError
from streams.core.events import EventType, Slate
from streams.topics import Topics
from tests.fakes import event
from tests.running import environment, publish, read_all, running, worker_spec
from tests.versions import NAME, clip, grown, manifest

pytestmark = pytest.mark.integration

CONFIG = ModelConfig(hidden_size=8, embedding_size=4)
decode_slate = Decoder(Slate)
SIZES = {"hidden_size": 8, "embedding_size": 4}


def version(number: int, **fields) -> list[Piece]:
    return records(manifest(number, CONFIG, **fields), to_bytes(grown(CONFIG, number)))


def refused(number: int) -> list[Piece]:
    evaluation = Evaluation(
        accepted=False, reason="refused: log-loss 0.6", candidate_loss=0.6, incumbent_loss=float("nan")
    )
    return records(manifest(number, CONFIG, parent=2, evaluation=evaluation), b"")


@pytest.fixture
def settings(broker, make_settings):
    """Versions 1 to 3, of which 3 was refused and 2 serves."""
    found = make_settings(**SIZES, frozen_after=1000)
    create_topics(found)
    serve = [[current_record(NAME, number, number, "accepted")] for number in (1, 2)]
    send(found, [version(1), serve[0], version(2), serve[1], refused(3)])
    return found


def run(settings, *arguments):
    result = CliRunner().invoke(models_app, arguments, env=environment(settings))
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def run_json(settings, *arguments):
    return json.loads(run(settings, *arguments, "--json").stdout.splitlines()[-1])


def worker(settings, kept=1) -> Registry:
    """What a worker holds that read every record, and keeps as little as it may."""
    registry = Registry(NAME, CONFIG, settings.frozen_after, kept)
    for record in read_all(settings, Topics(settings).models):
        registry.feed(record.key, record.value)
    return registry


def test_list_tells_what_serves_and_why_the_others_do_not(settings):
    found = run_json(settings, "list")
    assert (found["serving"], found["epoch"], found["frozen"]) == (2, 2, 1)
    assert [one["version"] for one in found["versions"]] == [0, 1, 2, 3]
    assert [one["state"] for one in found["versions"]] == ["accepted", "frozen", "serving", "refused"]
    last = found["versions"][3]
    assert last["evaluation"]["accepted"] is False
    assert last["evaluation"]["incumbent_loss"] is None  # JSON has no NaN
    assert last["why_not"] == "incomplete: version 3 was published without weights"
    assert found["versions"][1]["why_not"] is None


def test_the_table_shows_the_same(settings):
    lines = run(settings, "list").stdout.splitlines()
    table = [line.split() for line in lines[1:5]]
    day, time = table[1][5:7]
    assert (len(day), len(time)) == (10, 8)
    assert [(row[0], row[1], row[2], row[-1]) for row in table] == [
        ("3", "2", "3,000", "refused"),
        ("2", "1", "2,000", "serving"),
        ("1", "0", "1,000", "frozen"),
        ("0", "0", "from", "accepted"),
    ]
    assert table[1][3:5] == ["0.4000", "0.5000"]
    assert lines[5:] == ["version 3: refused: log-loss 0.6"]
    assert max(map(len, lines)) <= 80
    assert len(run(settings, "list", "--last", "1").stdout.splitlines()) == 3


def test_show(settings):
    found = run_json(settings, "show", "2")
    assert msgspec.convert(found["config"], ModelConfig) == CONFIG
    assert found["chunks"] == 1
    assert len(found["sha256"]) == 64
    assert found["sha256"] in run(settings, "show", "2").stdout.replace("\n", "").replace(" ", "")
    assert "from the seed" in run(settings, "show", "0").stdout
    with pytest.raises(ConfigError, match="there is no version 9; there are 1, 2, 3"):
        run(settings, "show", "9")


def test_rollback_goes_to_the_parent_under_a_new_epoch_and_workers_follow(settings):
    found = run_json(settings, "rollback", "--reason", "bad slates")
    assert found == {"version": 1, "epoch": 3, "was": 2, "changed": True}
    registry = worker(settings)
    assert registry.current().number == 1
    assert registry.named.reason == "bad slates"
    assert "version 2 serves as of epoch 4" in run(settings, "promote", "2").stdout
    assert worker(settings).current().number == 2
    assert run_json(settings, "rollback", "0") == {"version": 0, "epoch": 5, "was": 2, "changed": True}
    assert worker(settings).current().number == 0


def test_what_serves_already_is_not_put_into_service_again(settings):
    before = len(read_all(settings, Topics(settings).models))
    assert run_json(settings, "promote", "2") == {"version": 2, "epoch": 2, "was": 2, "changed": False}
    assert "serves already" in run(settings, "promote", "2").stdout
    assert len(read_all(settings, Topics(settings).models)) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("promote", "3"), r"version 3 cannot serve \(the gate refused it.*\); versions that can: 0, 1, 2"),
        (("promote", "8"), "there is no version 8; versions that can serve: 0, 1, 2"),
        (("rollback", "3"), "version 3 is newer than 2, which serves; use 'freshloop models promote 3'"),
    ],
)
def test_a_version_that_cannot_serve_is_not_put_into_service(settings, arguments, message):
    with pytest.raises(ConfigError, match=message):
        run(settings, *arguments)
    assert worker(settings).current().number == 2


def test_a_damaged_version_is_not_put_into_service(settings):
    chunk, about = version(4)
    send(settings, [[Piece(chunk.key, chunk.value[:-1] + bytes([chunk.value[-1] ^ 0xFF])), about]])
    with pytest.raises(ConfigError, match=r"version 4 cannot serve \(hash: .*"):
        run(settings, "promote", "4")
    result = run(settings, "list")
    assert "a record of the models topic is refused: hash: " in result.stderr
    assert "version 4: hash: " in result.stdout
    assert run_json(settings, "show", "4")["state"] == "unsound"


def test_weights_that_were_taken_back_cannot_be_rolled_back_to(settings):
    registry = worker(settings, kept=99)
    send(settings, [tombstones(NAME, registry.manifests, registry.chunks, {2})])
    with pytest.raises(ConfigError, match=r"version 1 cannot serve .* versions that can: 0, 2"):
        run(settings, "rollback")
    assert [one["state"] for one in run_json(settings, "list")["versions"]] == [
        "accepted",
        "gone",
        "serving",
        "refused",
    ]


def test_a_version_in_service_that_cannot_serve_is_named(settings):
    send(settings, [[current_record(NAME, 3, 9, "by a program that did not look")]])
    assert run_json(settings, "list")["serving"] == 2
    lines = " ".join(run(settings, "list").stdout.split())
    assert "version 9 was put into service and cannot serve: incomplete: version 9 has no manifest" in lines
    assert run_json(settings, "promote", "2") == {"version": 2, "epoch": 4, "was": 2, "changed": True}


def test_there_is_nothing_before_version_0(broker, make_settings):
    settings = make_settings(**SIZES)
    create_topics(settings)
    assert run_json(settings, "list")["versions"][0]["state"] == "serving"
    with pytest.raises(ConfigError, match="version 0 serves, and there is none before it"):
        run(settings, "rollback")
    assert run_json(settings, "promote", "0")["changed"] is False


def test_another_hand_that_was_quicker_is_seen_and_outdone(settings, monkeypatch):
    def late(settings, batches):
        if not quick:  # the trainer takes the epoch that was meant to be ours
            quick.append(True)
            send(settings, [version(4), [current_record(NAME, 3, 4, "accepted")]])
        send(settings, batches)

    quick: list[bool] = []
    monkeypatch.setattr(choosing, "send", late)
    assert run_json(settings, "promote", "1") == {"version": 1, "epoch": 4, "was": 2, "changed": True}
    assert worker(settings).current().number == 1


def test_a_version_of_many_chunks_is_read_whole(settings):
    weights = grown(CONFIG, 5, videos=0)
    rows = 3 * CHUNK_BYTES // (8 + 4 * CONFIG.category_size)
    weights["table.tag.keys"] = weights["table.tag.keys"][:1] + range(rows)
    weights["table.tag.rows"] = weights["table.tag.rows"][:1].repeat(rows, axis=0)
    send(settings, [records(manifest(5, CONFIG), to_bytes(weights))])
    assert run_json(settings, "promote", "5")["version"] == 5
    assert read(settings).registry.manifests[5].chunks == 4


def served(settings, version: int, mark: str = "e", deadline_s: float = 30.0) -> Slate:
    """Send events until a slate for one of them is the work of `version`; return it."""
    deadline = time.monotonic() + deadline_s
    for attempt in itertools.count():
        event_id = f"{mark}{version}-{attempt}"
        publish(settings, events=[event("u", EventType.OPEN, at=attempt, event_id=event_id)])
        made = [decode_slate(record.value) for record in read_all(settings, Topics(settings).recommendations)]
        mine = [slate for slate in made if slate.event_id.startswith(f"{mark}{version}-")]
        if mine and mine[-1].model_version == version:
            return mine[-1]
        assert time.monotonic() < deadline, f"version {version} does not serve; the last was {made[-1:]}"
        time.sleep(0.2)
    raise AssertionError


def test_a_worker_swaps_rolls_back_and_starts_again_with_what_serves(broker, make_settings):
    settings = make_settings(**SIZES, partitions=1)
    spec = worker_spec(settings)
    with running(settings, spec) as parts:
        publish(settings, videos=[clip(number, published_ms=time.time_ns() // 1_000_000) for number in range(30)])
        assert served(settings, 0).trained_through == 0
        send(settings, [version(1), [current_record(NAME, 1, 1, "accepted")]])
        first = served(settings, 1)
        assert first.trained_through == 1000
        run(settings, "rollback")
        served(settings, 0)
        _, about = version(2)
        send(settings, [[about, current_record(NAME, 3, 2, "half of it")], version(3)])
        run(settings, "promote", "3")
        last = served(settings, 3)
        assert [item.score for item in last.items] != [item.score for item in first.items]
        parts.kill("w1", signal.SIGKILL)
        while "w1" in parts.running():
            parts.poll(0.1)
        parts.start(spec)
        assert served(settings, 3, "again-").trained_through == 3000
    made = [decode_slate(record.value) for record in read_all(settings, Topics(settings).recommendations)]
    assert {slate.model_version for slate in made if slate.event_id.startswith("again-")} == {3}


def test_noise_on_the_topic_is_reported_and_stops_nothing(settings):
    with closing(KafkaProducer(bootstrap_servers=settings.bootstrap)) as producer:
        for key in (b"default/x", b"default/4/manifest", b"default/current", b"other/current"):
            producer.send(Topics(settings).models, key=key, value=b"\xc1noise").get(20)
    result = run(settings, "list", "--json")
    assert json.loads(result.stdout)["serving"] == 2
    assert len(result.stderr.splitlines()) == 3


def test_without_a_broker_one_sentence_says_what_to_do(make_settings):
    with pytest.raises(BrokerUnreachable, match="freshloop broker up"):
        run(make_settings(), "list")
