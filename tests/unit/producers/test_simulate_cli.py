"""The command `freshloop simulate`: options, texts, the summary file."""

import json

import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from producers.measures import Measures
from producers.simulate import write_atomically
from producers.simulate_cli import describe, one_line, parse_arms
from producers.simulation import user_id
from producers.simulation_metrics import SimulationMetrics
from streams.config import ConfigError
from streams.main import app


def summary(delays=0):
    return {
        "running": True, "seconds": 12.0, "events": 340, "events_per_second": 28.3, "impressions": 100, "outcomes": 98,
        "late": 1, "missing_outcomes": 2, "slates": 90, "videos": 50, "videos_withdrawn": 3, "active_viewers": 4,
        "arms": ["online", "random", "oracle"],
        "event_to_slate_ms": {"p50": 20 if delays else None, "p99": 80 if delays else None, "count": delays},
        **Measures(("online", "random"), 3, seed=1).summary(),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", ",", "offline", "online,online", "online;random"])
def test_arms_that_cannot_be_are_refused_in_a_sentence(text):
    with pytest.raises(ConfigError, match="--arms takes each of online, frozen, popular, random"):
        parse_arms(text)


def test_arms_keep_their_order():
    assert parse_arms("random, online") == ("random", "online")


def test_a_viewer_has_a_suffix_only_in_a_comparison():
    assert user_id(17, "online", ("online",)) == "u17"
    assert user_id(17, "online", ("online", "random")) == "u17@online"
    assert user_id(17, "random", ("random",)) == "u17@random"


def test_help_names_every_option():
    found = CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert found.exit_code == 0
    for option in ("viewers", "rate", "seed", "arms", "videos", "publish-rate", "for", "measure-from", "jump-at",
                   "products", "rooms", "parameters", "summary", "metrics-port", "json"):  # fmt: skip
        assert f"--{option}" in found.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--measure-from", "frozen"], "needs the arms online and frozen"),
        (["--parameters", "/nowhere/world.toml"], "cannot be read"),
        (["--arms", "best"], "--arms takes"),
        (["--products", "0.7", "--rooms", "0.4"], "together 1 at most"),
        (["--summary", "/nowhere/summary.json"], "--summary"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, said):
    found = CliRunner().invoke(app, ["simulate", *arguments])
    assert isinstance(found.exception, ConfigError)
    assert said in str(found.exception)


def test_progress_says_when_no_worker_answers():
    assert "does a worker run?" in one_line(summary())
    assert "event to slate 20/80 ms" in one_line(summary(delays=5))


def test_a_summary_without_any_slate_can_be_read():
    assert "340 events in 12 s" in describe(summary())


def test_a_summary_file_is_replaced_whole(tmp_path):
    path = tmp_path / "summary.json"
    for number in range(3):
        write_atomically(path, {"number": number})
    assert json.loads(path.read_text()) == {"number": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_a_summary_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="--summary"):
        write_atomically(tmp_path / "none" / "summary.json", {})


def test_metrics_leave_out_what_is_not_known_and_name_no_user():
    registry = CollectorRegistry()
    metrics = SimulationMetrics(registry, ("online", "random"))
    metrics.show(summary())
    assert registry.get_sample_value("freshloop_simulated_slates") == 90
    assert registry.get_sample_value("freshloop_simulated_reward_share", {"arm": "online"}) is None
    labels = {name for family in registry.collect() for sample in family.samples for name in sample.labels}
    assert labels <= {"arm", "quantile", "type", "change"}


def test_the_rate_is_reached_evenly():
    from producers.simulate import Options

    ramped = Options(rate=100.0, ramp_s=4.0)
    assert [ramped.rate_after(seconds) for seconds in (0, 1, 4, 99)] == [0.0, 25.0, 100.0, 100.0]
    assert Options(rate=100.0).rate_after(0) == 100.0


def test_products_and_rooms_are_told_of_where_there_are_any():
    assert "bought" not in describe(summary())
    names = ("products_bought", "products_sold_out", "products_restocked", "rooms_entered", "rooms_ended")
    told = describe(summary() | dict(zip(names, (5, 2, 1, 70, 3), strict=True)))
    assert "5 products bought, 2 sold out, 1 came back; 70 visits of live rooms, 3 rooms ended" in told
