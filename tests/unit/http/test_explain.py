"""Explanations: terms that add up, effects that are what leaving out does, and nothing changed by looking."""

from __future__ import annotations

import numpy as np
import pytest

from model.config import model_config
from model.registry import initial_version
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import EventType
from streams.core.rebuilding import rebuild
from streams.explain import History, explain, history, replay, without_each
from streams.explain_view import as_text, why
from tests.fakes import FakeScorer, event, video
from tests.served import FakeWorker


@pytest.fixture
def worker(make_settings):
    settings = make_settings(partitions=1)
    config = model_config(settings)
    scorer = initial_version("default", config).scorer()
    worker = FakeWorker(settings, scorer=scorer)
    worker.config = type(worker.config)(
        policy=worker.config.policy, shape=type(worker.config.shape)(settings.hidden_size, 5, 50)
    )
    worker.owned[0].core.__init__(0, worker.config, worker.pool)
    return worker


def live(worker, count, user="ann"):
    core = worker.owned[0].core
    kinds = [EventType.WATCH, EventType.LIKE, EventType.SKIP]
    events = [event(user, kinds[n % 3], number=n, at=1000 * n, watch_ms=1000 * (n % 9)) for n in range(count)]
    ops = core.plan([(n, worker.clock.now_ms(), one) for n, one in enumerate(events)])
    slates = core.apply(ops, worker.models.scorer).slates
    return core.states, slates[-1]


def test_terms_add_up_to_the_logit_and_the_logit_to_the_score(worker):
    states, slate = live(worker, 4)
    found = explain(slate, history(states, "ann"), worker.pool, worker.scorer)
    assert [item["video"]["video_id"] for item in found["items"]] == [item.video_id for item in slate.items]
    for item in found["items"]:
        assert sum(item["terms"].values()) == pytest.approx(item["logit"], abs=3e-4)
        assert item["score_now"] == pytest.approx(item["score"], abs=2e-6)
        assert set(item["terms"]) == {"user", "video", "bias", "interaction"}


def test_looking_changes_no_state(worker):
    states, slate = live(worker, 7)
    before = states.pack(["ann"])
    explain(slate, history(states, "ann"), worker.pool, worker.scorer)
    assert states.pack(["ann"]) == before


def test_replay_ends_where_the_state_is_rebuilt(worker):
    states, _ = live(worker, 7)  # more than the 5 that are kept
    state = history(states, "ann")
    trail = replay(worker.scorer, worker.pool, worker.pool.slots_of_keys(state.keys), state.behaviour)
    rows = np.array([states.row("ann")])
    assert len(trail) == 6
    np.testing.assert_array_equal(trail[-1:], rebuild(states, rows, worker.pool, worker.scorer))


def test_without_each_leaves_out_exactly_that_step(worker):
    slots = np.array([3, 1, 4, 1])
    inputs = np.random.default_rng(1).random((4, BEHAVIOUR_SIZE)).astype(np.float32)
    found = without_each(worker.scorer, worker.pool, slots, inputs)
    for step in range(4):
        kept = [n for n in range(4) if n != step]
        expected = replay(worker.scorer, worker.pool, slots[kept], inputs[kept])[-1]
        np.testing.assert_allclose(found[step], expected, atol=1e-6)


def test_a_user_without_steps_and_a_video_that_is_gone_can_be_explained(worker):
    empty = History(
        np.zeros((1, worker.scorer.hidden_size), np.float32), -1, 3, 0, 0, 0, 0, np.zeros(0, np.int64),
        np.zeros((0, BEHAVIOUR_SIZE), np.float32),
    )  # fmt: skip
    found = explain(None, empty, worker.pool, worker.scorer)
    assert (found["items"], found["events"], found["slate"]) == ([], [], None)
    gone = History(
        empty.hidden, 0, 3, 0, 1, 1, 0, np.array([12345]), np.zeros((1, BEHAVIOUR_SIZE), np.float32)
    )  # fmt: skip
    assert explain(None, gone, worker.pool, worker.scorer)["events"][0]["video"] is None


def test_a_scorer_without_terms_is_explained_by_what_leaving_out_does(make_settings):
    worker = FakeWorker(make_settings(partitions=1), scorer=FakeScorer())
    states, slate = live(worker, 3)
    item = explain(slate, history(states, "ann"), worker.pool, worker.scorer)["items"][0]
    assert item["terms"] == {}
    scorer, one = worker.scorer, worker.pool.videos[worker.pool.slot(item["video"]["video_id"])]
    other = scorer.encode([type(one)(**{f: getattr(one, f) for f in one.__struct_fields__} | {"video_id": ""})])[1]
    full = scorer.encode([one])[1]
    hidden = states.table["hidden"][[states.row("ann")]]
    assert item["parts"]["viewers"] == pytest.approx(float((scorer.queries(hidden) @ (full - other).T)[0, 0]), abs=1e-3)
    assert item["parts"]["author"] == 0.0  # this scorer looks at the id alone


def test_a_person_reads_it_in_words(worker):
    from rich.console import Console

    states, slate = live(worker, 4)
    found = explain(slate, history(states, "ann"), worker.pool, worker.scorer)
    found |= {"user_id": "ann", "worker": "w1", "policy": "online"}
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(as_text(found))
    text = console.export_text()
    console.file.close()
    assert "4 steps" in text
    assert "watched" in text
    assert why({"explored": True, "propensity": 0.01, "parts": {}, "because": []}, []).startswith("drawn by chance")


def test_the_map_places_a_user_near_what_it_likes(worker):
    states, slate = live(worker, 4)
    found = explain(slate, history(states, "ann"), worker.pool, worker.scorer)["map"]
    assert len(found["videos"]) == 12
    assert len(found["trail"]) == 5
    assert np.isfinite(found["trail"]).all()
    empty = explain(slate, history(states, "ann"), type(worker.pool)(8, 1000, 1000), worker.scorer)
    assert empty["map"]["videos"] == []


def test_videos_are_told_apart_by_number(worker):
    assert len({video(n).video_id for n in range(3)}) == 3
