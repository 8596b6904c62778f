"""A memory moves towards what was watched, by how much it surprises, and forgets."""

import numpy as np
import pytest

from model.gru import sigmoid
from model.memory import DECAY, FEEDBACK, GAIN, NORM, Expected, expected, outcomes, remember
from streams.core.behaviour import BEHAVIOUR_SIZE, expand, labels_of, steps_of
from streams.core.events import TASTE, Event, EventType
from tests.versions import SMALL, grown

E = 6
NOBODY = Expected(np.zeros(E, np.float32), np.zeros(1, np.float32))  # of whom half a reward is expected


def event(kind=EventType.WATCH, watch_ms=None, actions=()):
    return Event(
        event_id="e", user_id="u", type=kind, event_time_ms=1, video_id="v", watch_ms=watch_ms, duration_ms=10_000,
        actions=actions,
    )  # fmt: skip


def behaviour_of(*events):
    steps = steps_of(list(events), np.zeros(len(events), np.int64), np.zeros(len(events), np.int64))
    return expand(steps.numbers, steps.flags), labels_of(steps.ratios, steps.masks)


def test_the_outcome_is_the_label_of_the_step():
    kinds = [event(one) for one in sorted(TASTE - {EventType.WATCH})]
    watched = [event(watch_ms=ms) for ms in (0, 2_500, 9_999, 10_000, 15_000, 80_000)]
    both = [(EventType.LIKE,), (EventType.LIKE, EventType.HIDE)]
    mixed = [event(watch_ms=4_000, actions=actions) for actions in both]
    inputs, labels = behaviour_of(*kinds, *watched, *mixed)
    np.testing.assert_allclose(outcomes(inputs), labels, atol=3e-4)  # a ratio is kept in half precision
    assert set(np.round(labels, 2)) >= {0.0, 0.12, 0.5, 0.7, 1.0}


def vectors(rows=1, seed=0):
    return np.tanh(np.random.default_rng(seed).normal(size=(rows, E))).astype(np.float32)


def test_one_step_is_the_rule():
    rng = np.random.default_rng(1)
    memory, shown = rng.normal(size=(70, E)).astype(np.float32), vectors(70)
    inputs, labels = behaviour_of(*(event(watch_ms=100 * at) for at in range(70)))
    weights = grown(SMALL)
    nobody = Expected(rng.normal(size=E).astype(np.float32), np.ones(1, np.float32))
    found = remember(memory, shown, inputs, nobody)
    for row in range(70):
        logit = shown[row] @ nobody.slope + 1.0 + FEEDBACK * (memory[row] @ shown[row])
        surprise = labels[row] - sigmoid(np.array([logit]))[0]
        wanted = DECAY * memory[row] + GAIN * surprise * shown[row] / (NORM + shown[row] @ shown[row])
        np.testing.assert_allclose(found[row], wanted, atol=2e-4)
    user = np.tanh(weights["user.bias"])
    told = expected(weights)
    logit = user @ weights["head.interaction"] + weights["head.video"]
    np.testing.assert_allclose(told.slope, logit, atol=1e-6)
    np.testing.assert_allclose(told.level, user @ weights["head.user"] + weights["head.bias"], atol=1e-6)


@pytest.mark.parametrize(("ms", "sign"), [(10_000, 0.0), (0, -1.0)])
def test_what_surprises_nobody_moves_nothing_and_a_skip_moves_away(ms, sign):
    shown = vectors()
    inputs, _ = behaviour_of(event(watch_ms=ms))
    found = remember(np.zeros((1, E), np.float32), shown, inputs, NOBODY)
    np.testing.assert_allclose(np.sign(found @ shown[0]), [sign], atol=0)


def test_an_unknown_video_only_lets_time_pass():
    memory = vectors(3, seed=2)
    inputs, _ = behaviour_of(*3 * [event(watch_ms=10_000, actions=(EventType.LIKE,))])
    np.testing.assert_array_equal(
        remember(memory, np.zeros((3, E), np.float32), inputs, NOBODY), np.float32(DECAY) * memory
    )


def test_a_taste_that_turned_is_unlearned_faster_than_it_is_forgotten():
    liked, shown = event(watch_ms=10_000, actions=(EventType.LIKE,)), vectors()
    memory = np.zeros((1, E), np.float32)
    for _ in range(40):
        memory = remember(memory, shown, behaviour_of(liked)[0], NOBODY)
    skipped, nothing = behaviour_of(event(watch_ms=0))[0], np.zeros((1, E), np.float32)
    of_held, of_nothing = (DECAY * one - remember(one, shown, skipped, NOBODY) for one in (memory, nothing))
    assert float((memory @ shown[0])[0]) > 0.5
    assert (np.abs(of_held) > 1.1 * np.abs(of_nothing)).all()


def test_memories_stay_within_bounds():
    rng = np.random.default_rng(3)
    memory, limit = np.zeros((10, E), np.float32), GAIN / (2 * np.sqrt(NORM)) / (1 - DECAY)
    for _ in range(200):
        inputs = rng.integers(0, 2, (10, BEHAVIOUR_SIZE)).astype(np.float32)
        memory = remember(memory, vectors(1, seed=4).repeat(10, axis=0), inputs, NOBODY)
    assert (np.linalg.norm(memory, axis=1) <= limit * 1.001).all()
