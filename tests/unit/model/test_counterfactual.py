"""Explored choices of a log, and the chances of policies that are judged by them."""

import numpy as np
import pytest

from model.choices import Log, Shelf
from model.counterfactual import Target, by_popularity, judge, slate_chances, uniform
from streams.core.behaviour import BEHAVIOUR_SIZE
from streams.core.events import Feedback, Video

VIDEOS = [Video(video_id=f"v{at}", author_id="a", published_ms=100 * (at == 3)) for at in range(5)]
SHELF = Shelf(VIDEOS, (), 1000)


def feedback(at, video, slate=-1, **fields):
    """Feedback of user u at offset and moment `at`; of a slate made at offset `slate`."""
    given = {
        "impression_id": f"i{at}", "user_id": "u", "video_id": f"v{video}", "revision": 0, "offset": at,
        "event_time_ms": at, "impression_ms": at, "stepped": True, "label": 0.5,
        "behaviour": [float(at)] * BEHAVIOUR_SIZE, "slate_id": f"0-{slate}" if slate >= 0 else "",
    }  # fmt: skip
    return Feedback(**(given | fields))


def log(*records, arm="online"):
    found = Log(arm)
    for record in records:
        found.add(record)
    return found.choices(SHELF)


def test_a_choice_knows_the_steps_before_its_slate_and_nothing_later():
    choices = log(
        feedback(10, 0), feedback(20, 1), feedback(30, 2), feedback(40, 4, slate=20, propensity=0.05),
        feedback(41, 1, slate=40, propensity=0.8),
    )  # fmt: skip
    assert len(choices) == 1
    assert choices.count.tolist() == [2]
    assert choices.steps[0, :3].tolist() == [0, 1, -1]
    assert choices.behaviour[0, :2, 0].tolist() == [10.0, 20.0]
    assert choices.chance == pytest.approx([0.05 / 0.2])  # of those that are explored, as the others tell
    assert choices.eligible(slice(0, 1)).tolist() == [[False, False, False, False, True]]  # v3 comes at 100


def test_the_newest_revision_is_the_label_and_other_arms_are_left_out():
    one = feedback(10, 0, slate=5, propensity=0.1, label=0.0)
    choices = log(
        one, feedback(12, 0, slate=5, propensity=0.1, label=0.9, revision=1, impression_id="i10"), one,
        feedback(20, 1, slate=5, propensity=0.1, arm="frozen"), feedback(30, 2, slate=5, propensity=0.9),
        feedback(31, 9, slate=5, propensity=0.1),
    )  # fmt: skip
    assert choices.label.tolist() == [0.9]
    assert choices.chance == pytest.approx([1.0])
    assert choices.likes[:, 3] == pytest.approx([0.0, 0.9, 0.5, 0.5])


def test_what_is_too_old_was_seen_or_is_not_published_cannot_be_chosen():
    choices = log(feedback(50, 0, slate=1, propensity=0.1), feedback(500, 1, slate=1, propensity=0.1))
    assert choices.eligible(slice(0, 2)).tolist() == [[True, True, True, False, True], [False, True, True, True, True]]
    later = log(feedback(1050, 3, slate=1, propensity=0.1))
    assert later.eligible(slice(0, 1)).tolist() == [[False, False, False, True, False]]


def test_choices_after_a_moment_keep_what_was_known_before():
    choices = log(feedback(10, 0), feedback(50, 1, slate=20, propensity=0.1), feedback(60, 2, slate=50, propensity=0.1))
    later = choices.after(50)
    assert (len(choices), len(later)) == (2, 1)
    assert later.video.tolist() == [2]
    assert later.steps[0, :2].tolist() == [0, 1]
    assert len(later.likes) == 3


def test_a_slate_has_the_best_above_the_threshold_or_the_minimum():
    scores = np.array([[2.0, 1.0, -1.0, -2.0, -np.inf], [-3.0, -2.0, -1.0, -4.0, -5.0], [-np.inf] * 5])
    found = slate_chances(scores, 3, 1, 0.5)
    assert found.tolist() == [[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert slate_chances(scores, 3, 1, None)[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert slate_chances(scores, 9, 0, None)[0].tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]


def test_popularity_is_what_was_known_at_the_time():
    choices = log(
        feedback(10, 2, user_id="a"), feedback(20, 1, user_id="b"), feedback(25, 1, user_id="c"),
        feedback(15, 0, slate=1, propensity=0.1), feedback(60, 4, slate=1, propensity=0.1),
    )  # fmt: skip
    found = by_popularity(1e9)(choices, slice(0, 2))
    assert found[0].tolist() == pytest.approx([0, 0, 0.5, 0, 0])
    assert found[1].tolist() == pytest.approx([0.5, 1.0, 0.5, 0, 0])
    np.testing.assert_array_equal(by_popularity(1e9)(choices, slice(1, 2)), found[1:])
    halved = by_popularity(10.0)(choices, slice(1, 2))[0]  # relative to one another
    assert halved[1] / halved[2] == pytest.approx(2 + 2**1.5)


def test_a_random_policy_on_a_random_log_earns_its_mean():
    rng = np.random.default_rng(0)
    records = [
        feedback(at, int(rng.integers(5)), slate=0, user_id=f"u{at}", propensity=0.2 / 5, label=rng.random())
        for at in range(200, 600)
    ]
    choices = log(feedback(150, 0, slate=0, user_id="x", propensity=0.8), *records)
    found = judge(choices, Target(uniform, 5))
    assert found.snips.value == pytest.approx(choices.label.mean())
    assert (found.choices, found.effective) == (400, pytest.approx(400))
    assert found.weight.value == pytest.approx(1.0)
    assert np.isnan(found.robust.value)
