"""Before anything was learned, a viewer is offered what resembles what it watched through, not what it skipped."""

import numpy as np
import pytest

from model.config import ModelConfig
from model.serving import NumpyScorer
from model.weights import initial
from streams.core.behaviour import BEHAVIOUR_SIZE, FEATURES


def behaviour(**given):
    row = np.zeros(BEHAVIOUR_SIZE, np.float32)
    for name, value in given.items():
        row[FEATURES.index(name)] = value
    return row


WATCHED = behaviour(watch_ratio=0.5, completed=1, watch_known=1, duration_known=1)
SKIPPED = behaviour(watch_ratio=0.03, is_skip=1, watch_known=1, duration_known=1)


@pytest.mark.parametrize(
    ("sizes", "memory"), [((64, 32), True), ((64, 32), False), ((16, 32), False), ((64, 8), True), ((64, 8), False)]
)
def test_similar_to_what_was_watched_comes_before_similar_to_what_was_skipped(sizes, memory):
    config = ModelConfig(hidden_size=sizes[0], embedding_size=sizes[1], memory=memory)
    weights = initial(config)
    scorer = NumpyScorer(weights, config, 0, 0)
    rng = np.random.default_rng(1)
    watched, skipped = np.tanh(rng.normal(0, 0.7, (2, 100, sizes[1]))).astype(np.float32)
    hidden = np.zeros((100, sizes[0]), np.float32)
    for _ in range(4):
        hidden = scorer.step(hidden, watched, np.tile(WATCHED, (100, 1)))
        hidden = scorer.step(hidden, skipped, np.tile(SKIPPED, (100, 1)))
    crossed = scorer.users(hidden) @ weights["head.interaction"]
    for_watched, for_skipped = (crossed * watched).sum(axis=1), (crossed * skipped).sum(axis=1)
    assert (for_watched > for_skipped).mean() > 0.95


@pytest.mark.parametrize("memory", [True, False])
def test_a_new_viewer_has_no_preference(memory):
    config = ModelConfig(memory=memory)
    scorer = NumpyScorer(initial(config), config, 0, 0)
    assert not scorer.users(np.zeros((1, 64), np.float32)).any()
