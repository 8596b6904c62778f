"""What neighbours say of an item, against sums written out, and the evaluation of cold items on a small log."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.cold import ALL, NEW, ColdOptions, Judged, cold_data, system
from model.datasets import Content, kuairand
from model.evaluate_config import DEFAULT, load_config
from model.neighbours import KINDS, ItemGraph
from tests.unit.model.evaluation_world import write_kuairand

CONTENT = Content(
    tags=(("a", "b"), ("a",), ("b", "a"), (), ("c",)), authors=("x", "x", "y", "x", "z"), music=("m", "n", "m", "", ""),
    duration_ms=(1, 1, 1, 1, 1),
)  # fmt: skip


def by_hand(content, values, known, kind):
    things = {
        "author": [(one,) for one in content.authors], "music": [(one,) if one else () for one in content.music],
        "tags": content.tags,
    }[KINDS[kind]]  # fmt: skip
    means, counts = np.zeros_like(values), np.zeros(len(values))
    for item in range(len(things)):
        near = [other for one in things[item] for other in range(len(things)) if other != item and one in things[other]]
        near = [other for other in near if known[other]]
        counts[item] = len(near)
        if near:
            means[item] = values[near].mean(0)
    return means, counts


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 10**6))
def test_means_are_those_of_known_neighbours(known, seed):
    graph, values = ItemGraph(CONTENT), np.random.default_rng(seed).normal(size=(6, 3)).astype(np.float32)
    known = np.array(known)  # the sixth item has no content
    for kind in range(len(KINDS)):
        means, counts = graph.means(values, known, kind)
        expected, beside = by_hand(CONTENT, values, known, kind)
        np.testing.assert_allclose(means, expected, atol=1e-6)
        assert counts.tolist() == beside.tolist()


def test_a_step_takes_the_author_before_the_tags_and_leaves_what_is_known():
    graph, values = ItemGraph(CONTENT), np.arange(5, dtype=np.float32)[:, None]
    stepped = graph.step(values, np.array([True, False, True, False, False]))
    assert stepped[:, 0].tolist() == [0.0, 0.0, 2.0, 0.0, 4.0]  # by author x, by author x, and one without neighbours
    alone = graph.step(values, np.array([False, False, True, False, False]))
    assert alone[:2, 0].tolist() == [2.0, 2.0]  # by music, and by tag


def test_a_thing_in_too_many_items_joins_nothing():
    graph = ItemGraph(CONTENT, most=2)
    assert graph.means(np.ones((5, 1), np.float32), np.ones(5, bool), 0)[1].tolist() == [0.0] * 5


def world(tmp_path):
    warm, features, stream = write_kuairand(tmp_path)
    return kuairand(warm, features, [stream])


def test_cold_items_are_in_no_warm_up_and_the_stream_is_whole(tmp_path):
    data = world(tmp_path)
    options = ColdOptions(share=0.3, rehearsed=0.3, users=1.0)
    cut, cold = cold_data(data, options, 0.2)
    assert 0 < cold.sum() < len(cold)
    assert not cold[cut.warm.item].any()
    assert cold[cut.streams[0][1].item].any()
    assert len(cut.streams[0][1]) == len(data.streams[0][1])
    newest = data.warm.time_ms[round(0.8 * len(data.warm))]
    fewer = set(data.warm.item[~cold[data.warm.item]].tolist())
    is_late = cut.warm.time_ms >= newest
    late = set(cut.warm.item[is_late].tolist()) - set(cut.warm.item[~is_late].tolist())
    assert late  # some items are new to the newest part, too
    assert late <= fewer
    some, _ = cold_data(data, ColdOptions(users=0.5, events=50), 0.2)
    assert len(some.streams[0][1]) == 50
    assert 0 < len(set(some.warm.user.tolist())) < len(set(data.warm.user.tolist()))


def test_systems_differ_in_what_they_are_told(tmp_path):
    data, config = world(tmp_path), load_config(DEFAULT, "kuairand")
    told = {name: system(name, data, config, 2) for name in ("without", "categories", "categories and graph")}
    assert not told["without"][0].content.tags
    assert told["categories"][0] is data
    assert [made.signals.graph for _, made in told.values()] == [False, False, True]
    assert {(made.sequence.epochs, made.outcomes) for _, made in told.values()} == {(2, False)}


def test_a_target_is_ranked_among_all_and_among_cold_items():
    class Model:
        prepare = predict = observe = None

        def scores(self, request):
            return {"whole": np.array([3.0, 2.0, 1.0], np.float32)}

    found = Judged(Model(), np.array([False, True, True, False])).scores(None)
    assert found[ALL].tolist() == [3.0, 2.0, 1.0]
    assert found[NEW].tolist()[1:] == [2.0, 1.0]
    assert -1e30 > found[NEW][0] > -np.inf
