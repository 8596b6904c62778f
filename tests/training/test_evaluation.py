import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from model.blend import BlendConfig
from model.datasets import Columns, interactions, kuairand
from model.evaluate import prequential, seen_before
from model.inputs import SignalConfig
from model.recommender import Recommender, RecommenderConfig
from model.sequence import SequenceConfig
from model.views import ViewConfig
from streams.main import app
from tests.unit.model.evaluation_world import write_kuairand

pytestmark = pytest.mark.training

CONFIG = RecommenderConfig(
    SignalConfig(half_lives_h=(6.0, 48.0), surface_half_lives_h=(24.0,), dimensions=4, ease=20.0, ease_every=100),
    BlendConfig(candidates=40, hidden=8, batch=16, memory=256, negatives=20, fit_after=16),
    SequenceConfig(units=8, steps=6, epochs=1, batch=16, online_steps=1, chunk=64, negatives=16),
    ViewConfig(hidden=4, members=1, memory=512),
    tail=0.3,
)


def run(data, learning, config=CONFIG, seed=1):
    model = Recommender(config, data, seed, True)
    model.warm(data.warm)
    judged = model if learning else model.frozen()
    return prequential(judged, data.streams[0][1], seen_before(data))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    warm, features, stream = write_kuairand(tmp_path_factory.mktemp("world"), 300)
    return kuairand(warm, features, [stream])


def test_the_whole_model_looks_at_nothing_that_comes_later(data):
    name, log = data.streams[0]
    cut = 200
    rows = np.arange(len(log))
    rows[cut:] = np.random.default_rng(0).permutation(rows[cut:])
    shuffled = replace(log.take(rows), time_ms=log.time_ms)
    before = int(log.target[:cut].sum())
    one = run(data, True)
    other = run(replace(data, streams=[(name, shuffled)]), True)
    assert one.broken == other.broken == 0
    for variant in ("whole", "blend"):
        assert np.array_equal(one.ranks[variant][:before], other.ranks[variant][:before])
    for variant, logits in one.predictions.items():
        assert np.array_equal(logits[:cut], other.predictions[variant][:cut])


def test_a_seed_repeats_itself_and_learning_changes_ranks(data):
    one, again, frozen = run(data, True), run(data, True), run(data, False)
    assert np.array_equal(one.ranks["whole"], again.ranks["whole"])
    assert not np.array_equal(one.ranks["whole"], frozen.ranks["whole"])


def test_the_frozen_pass_leaves_the_model_as_it_was(data):
    model = Recommender(CONFIG, data, 1, True)
    model.warm(data.warm)
    log = data.streams[0][1]
    first = prequential(model.frozen(), log, seen_before(data))
    second = prequential(model.frozen(), log, seen_before(data))
    assert np.array_equal(first.ranks["whole"], second.ranks["whole"])
    online = prequential(model, log, seen_before(data))
    assert np.array_equal(online.ranks["whole"], run(data, True).ranks["whole"])


def test_with_learning_rates_of_zero_online_is_frozen_with_counts_going_on(data):
    ranks = {}
    for still in (True, False):
        model = Recommender(CONFIG, data, 1, True)
        model.warm(data.warm)
        if still:
            model.config = replace(CONFIG, sequence=replace(CONFIG.sequence, online_rate=0.0))
            model.blend.linear.config = replace(CONFIG.blend, linear_rate=0.0)
            for network in model.blend.networks.values():
                network.rate = 0.0
        log = data.streams[0][1]
        counting = prequential(model.frozen(counting=True), log, seen_before(data))
        frozen = prequential(model.frozen(), log, seen_before(data))
        online = prequential(model, log, seen_before(data))
        for variant in ("whole", "blend"):
            same = np.array_equal(counting.ranks[variant], online.ranks[variant])
            assert same == still
        assert not np.array_equal(counting.ranks["whole"], frozen.ranks["whole"])
        ranks[still] = frozen.ranks["whole"]
    assert np.array_equal(ranks[True], ranks[False])


def test_items_and_users_that_are_new_are_learned(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "log.csv"
    rows = [(int(rng.integers(20 + row // 20)), int(rng.integers(20 + row // 20))) for row in range(400)]
    lines = "".join(f"u{user},i{item},{row * 600}\n" for row, (user, item) in enumerate(rows))
    path.write_text("user,item,time\n" + lines)
    data = interactions(path, [], Columns(), 150, True)
    found = run(data, True)
    items = data.streams[0][1].item[found.rows]
    new = items >= data.catalogue
    assert new.sum() > 20
    assert np.isfinite(found.ranks["whole"][new]).sum() > 5  # reachable once they have been seen


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(
        "[kuairand]\ntail = 0.3\n[kuairand.signals]\nhalf_lives_h = [6]\ndimensions = 4\n"
        "[kuairand.blend]\ncandidates = 40\nhidden = 8\nfit_after = 16\nmemory = 256\nnegatives = 20\n"
        "[kuairand.sequence]\nunits = 8\nsteps = 6\nepochs = 1\nbatch = 16\nnegatives = 16\n"
        "[kuairand.views]\nhidden = 4\nmembers = 1\n"
    )
    return path


def test_the_command_prints_one_object_and_writes_the_report(tmp_path, small):
    warm, features, stream = map(str, write_kuairand(tmp_path, 200))
    arguments = ["--warm", warm, "--features", features, "--stream", stream, "--stream", stream, "--config", str(small)]
    report = tmp_path / "report"
    done = CliRunner().invoke(
        app, ["evaluate", "--format", "kuairand", *arguments, "--seeds", "1,2", "--report", str(report), "--json"]
    )
    assert done.exit_code == 0, done.output
    got = json.loads(done.stdout.splitlines()[-1])
    for arm in ("frozen", "online"):
        for metric in ("recall_at_20", "mrr_at_20", "ndcg_at_10"):
            low, high = got[arm]["intervals"][metric]
            assert low <= got[arm][metric] <= high
    assert len(got["per_stream"]) == 2
    assert [day["day"] for day in got["per_day"]] == ["20220425", "20220426"]
    assert {"online_over_frozen", "auc", "seconds", "blend", "whole_minus_blend", "baselines"} <= set(got)
    assert got["seeds"] == [1, 2]
    assert 0 < got["auc_detail"]["without_surface"]["auc"] < 1
    assert "<svg" in (report / "index.html").read_text()


def test_cold_items_are_judged_with_and_without_the_graph_in_one_command(tmp_path, small):
    warm, features, stream = map(str, write_kuairand(tmp_path, 300))
    files = ["--warm", warm, "--features", features, "--stream", stream, "--config", str(small)]
    arguments = ["evaluate", "--format", "kuairand", "--cold", "--cold-users", "1", *files]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    got = json.loads(done.stdout.splitlines()[-1])
    assert (got["broken"], got["stream_events"]) == (0, 300)
    assert 0 < got["targets"]["first_20"] <= got["targets"]["cold"]
    new = got["frozen"]["cold_among_new"]
    for system in ("without", "categories", "categories and graph"):
        for metric in ("recall_at_20", "mrr_at_20", "ndcg_at_10"):
            low, high = new[system][metric]["interval"]
            assert low <= new[system][metric]["value"] <= high
    # Viewers like one tag of four, so that tags find what nobody was shown; without them all cold items are alike.
    assert new["categories and graph"]["mrr_at_20"]["value"] > new["without"]["mrr_at_20"]["value"]
    told = CliRunner().invoke(app, arguments)
    assert "items are cold" in told.stdout
    refused = CliRunner().invoke(app, ["evaluate", "--format", "interactions", "--cold", "--warm", stream])
    assert "--cold needs a log whose items have categories" in str(refused.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "kuairand", "--warm", "none"], "cannot be read"),
        (["--format", "interactions"], "name it with --warm"),
        (["--format", "sessions", "--config", "none.toml"], "cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, said):
    done = CliRunner().invoke(app, ["evaluate", *arguments])
    assert done.exit_code != 0
    assert said in str(done.exception) + done.output
