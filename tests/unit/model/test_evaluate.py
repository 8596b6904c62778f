from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from model.baselines import Baselines
from model.datasets import Dataset, Log, Vocabulary
from model.evaluate import CHUNK, prequential, seen_before
from model.metrics import MISS, recall_gains


def log_of(rows, target=None):
    """Rows are (user, item) at times 0, 1, 2, ... seconds."""
    user, item = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    count = len(rows)
    yes = np.ones(count, bool)
    return Log(
        user, item, np.arange(count, dtype=np.int64) * 1000, yes, yes if target is None else np.array(target),
        np.full(count, -1, np.int64), np.ones(count, np.float32), yes,
    )  # fmt: skip


def dataset(warm, stream, items, filter_seen=True):
    return Dataset(Vocabulary(), Vocabulary(), warm, [("stream", stream)], filter_seen=filter_seen, catalogue=items)


class Constant:
    """Scores everything alike, and writes down what it is told, in order."""

    names = ("constant",)

    def __init__(self, items, value=0.0):
        self.items, self.value, self.told = items, value, []

    def prepare(self, users):
        self.told.append(("prepare", len(list(users))))

    def scores(self, request) -> Mapping[str, np.ndarray]:
        self.told.append(("scores", request.user))
        return {"constant": np.full(self.items, self.value, np.float32)}

    def predict(self, event):
        return {"predicted": 0.5}

    def observe(self, event):
        self.told.append(("observe", event.item))


def random_rows(count, seed=0, users=20, items=50):
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(users)), int(rng.integers(items) * rng.random())) for _ in range(count)]


def test_a_constant_scorer_scores_zero():
    data = dataset(log_of([(0, 0)]), log_of(random_rows(300)), 50)
    found = prequential(Constant(50), data.streams[0][1], seen_before(data))
    assert recall_gains(found.ranks["constant"]).sum() == 0
    assert found.broken == 0


def test_an_event_is_ranked_and_then_observed():
    model = Constant(5)
    data = dataset(log_of([(0, 0)]), log_of([(0, 1), (0, 2)]), 5)
    prequential(model, data.streams[0][1], seen_before(data))
    assert model.told == [("prepare", 2), ("scores", 0), ("observe", 1), ("scores", 0), ("observe", 2)]


def test_events_that_are_no_targets_are_observed_only():
    model = Constant(5)
    data = dataset(log_of([(0, 0)]), log_of([(0, 1), (0, 2)], [False, True]), 5)
    found = prequential(model, data.streams[0][1], seen_before(data))
    assert found.rows.tolist() == [1]
    assert len(found.predictions["predicted"]) == 2


def test_what_was_shown_is_taken_out_and_a_repeated_target_is_a_miss():
    data = dataset(log_of([(0, 0), (0, 1)]), log_of([(0, 2), (0, 1), (0, 2)]), 5)
    found = prequential(Constant(5), data.streams[0][1], seen_before(data))
    assert found.ranks["constant"].tolist() == [3, MISS, MISS]  # items 2, 3, 4 are left for the first


def test_repeats_count_where_nothing_is_filtered():
    data = dataset(log_of([(0, 0), (0, 1)]), log_of([(0, 2), (0, 1)]), 5, filter_seen=False)
    assert prequential(Constant(5), data.streams[0][1], seen_before(data)).ranks["constant"].tolist() == [5, 5]


def test_an_item_that_is_not_known_yet_is_a_miss():
    data = dataset(log_of([(0, 0)]), log_of([(0, 9)]), 5)
    found = prequential(Constant(5), data.streams[0][1], seen_before(data))
    assert found.ranks["constant"].tolist() == [MISS]
    assert found.broken == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_a_miss_and_is_counted(bad):
    data = dataset(log_of([(0, 0)]), log_of([(0, 1)]), 5)
    found = prequential(Constant(5, bad), data.streams[0][1], seen_before(data))
    assert found.ranks["constant"].tolist() == [MISS]
    assert found.broken == 1


def test_users_are_named_a_chunk_of_targets_ahead():
    model = Constant(50)
    data = dataset(log_of([(0, 0)]), log_of(random_rows(2 * CHUNK + 10)), 50)
    prequential(model, data.streams[0][1], seen_before(data))
    assert [what[1] for what in model.told if what[0] == "prepare"] == [CHUNK, CHUNK, 10]


def test_later_events_change_no_earlier_rank():
    rows = random_rows(400)
    cut = 250
    changed = rows[:cut] + random_rows(150, seed=9)
    warm = log_of(random_rows(200, seed=1))
    for learning in (False, True):
        ranks = []
        for stream in (rows, changed):
            data = dataset(warm, replace(log_of(stream), time_ms=np.arange(400) * 1000 + 10**6), 50)
            found = prequential(Baselines(data, 100, learning), data.streams[0][1], seen_before(data))
            ranks.append(found.ranks)
        for name in Baselines.names:
            assert np.array_equal(ranks[0][name][:cut], ranks[1][name][:cut])


def test_a_frozen_baseline_ignores_what_others_do():
    warm = log_of(random_rows(200, seed=1))
    quiet = dataset(warm, log_of([(500, 3), (500, 4)]), 50)
    busy = dataset(warm, log_of([(500, 3), *random_rows(100), (500, 4)]), 50)
    for data, learning, same in ((busy, False, True), (busy, True, False)):
        other = prequential(Baselines(quiet, 100, learning), quiet.streams[0][1], seen_before(quiet)).ranks
        found = prequential(Baselines(data, 100, learning), data.streams[0][1], seen_before(data)).ranks
        assert (found["item_knn"][-1] == other["item_knn"][-1]) == same
