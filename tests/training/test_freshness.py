"""Parts of a model behind their delays: nothing is seen too early, and the ends of every axis are known systems."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.freshness_log import DAY, run_seed, settings
from model.datasets import kuairand
from model.delays import NEVER
from model.evaluate import prequential, seen_before
from model.freshness import FRESH, Freshness, Setting
from model.recommender import Recommender
from tests.training.test_evaluation import CONFIG
from tests.unit.model.evaluation_world import write_kuairand

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    warm, features, stream = write_kuairand(tmp_path_factory.mktemp("world"), 400)
    return kuairand(warm, features, [stream])


def judged(data, make):
    leader = Recommender(CONFIG, data, 1, True)
    leader.warm(data.warm)
    return prequential(make(leader), data.streams[0][1], seen_before(data))


def through(data, *settings):
    start = int(data.streams[0][1].time_ms[0])
    return judged(data, lambda leader: Freshness(leader, settings, start))


@pytest.fixture(scope="module")
def found(data):
    return through(
        data,
        Setting("state 1 ms", state=1),
        Setting("state 1 day", state=DAY),
        Setting("weights 1 ms", weights=1),
        Setting("weights 1 day", weights=DAY),
        Setting("weights never", weights=NEVER),
        Setting("learned 1 ms", weights=1, counts=1),
        Setting("learned never", weights=NEVER, counts=NEVER),
    )


def test_at_once_is_the_online_model(data, found):
    online = judged(data, lambda leader: leader)
    assert found.broken == 0
    assert np.array_equal(found.ranks[FRESH], online.ranks["whole"])
    assert np.array_equal(found.predictions[FRESH], online.predictions["with_surface"])


def test_never_is_the_frozen_model(data, found):
    frozen = judged(data, lambda leader: leader.frozen())
    counting = judged(data, lambda leader: leader.frozen(counting=True))
    assert np.array_equal(found.ranks["learned never"], frozen.ranks["whole"])
    assert np.array_equal(found.ranks["weights never"], counting.ranks["whole"])
    assert not np.array_equal(found.ranks["weights never"], found.ranks[FRESH])


def test_a_millisecond_is_at_once(data, found):
    assert len(set(data.streams[0][1].time_ms.tolist())) == len(data.streams[0][1])
    for name in ("state 1 ms", "weights 1 ms"):
        assert np.array_equal(found.ranks[name], found.ranks[FRESH]), name
        assert np.array_equal(found.predictions[name], found.predictions[FRESH]), name
    # Counts of the leader decay to the moment of the request, those behind a boundary are as of their last event.
    assert (found.ranks["learned 1 ms"] != found.ranks[FRESH]).mean() < 0.2


def test_what_is_learned_of_others_is_not_seen_before_its_boundary(data):
    name, log = data.streams[0]
    begins = int(np.searchsorted(log.time_ms, log.time_ms[-1] // DAY * DAY))
    changed = (np.arange(len(log)) >= begins) & (log.user % 2 == 0)
    other = replace(log, positive=np.where(changed, ~log.positive, log.positive))
    setting = Setting("learned", weights=DAY, counts=DAY)
    one, two = (through(replace(data, streams=[(name, each)]), setting) for each in (log, other))
    apart = (one.rows >= begins) & (log.user[one.rows] % 2 == 1)
    assert apart.sum() > 10
    assert np.array_equal(one.ranks["learned"][apart], two.ranks["learned"][apart])
    assert not np.array_equal(one.ranks[FRESH][apart], two.ranks[FRESH][apart])


def test_some_of_the_targets_can_be_judged(data, found):
    start = int(data.streams[0][1].time_ms[0])
    settings = [Setting("state 1 day", state=DAY), Setting("weights 1 day", weights=DAY)]
    third = judged(data, lambda leader: Freshness(leader, settings, start, every=3))
    for name in ("state 1 day", "weights 1 day"):
        assert np.array_equal(third.ranks[name], found.ranks[name][::3])
        assert np.array_equal(third.predictions[name], found.predictions[name][::3])


def test_every_point_has_a_row(data):
    result = run_seed(data, CONFIG, 100.0, 2, 1, lambda *_: None)
    assert [f"{row['axis']} {row['every']}" for row in result["rows"]] == [
        "fresh at once", *(one.name for one in settings())
    ]  # fmt: skip
    assert all(row["recall_at_20_lost"] == 0 for row in result["rows"] if row["ranks_changed"] == 0)


def test_what_a_setting_may_delay():
    with pytest.raises(ValueError, match="and not both"):
        Setting("x", state=1, weights=1)
    with pytest.raises(ValueError, match="as the weights"):
        Setting("x", counts=1)
