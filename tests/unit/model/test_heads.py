"""What each head can and cannot express."""

import numpy as np
import pytest

from model.config import ModelConfig
from model.heads import make_head
from model.serving import NumpyScorer
from streams.core.events import Video
from streams.core.ranking import Policy, rank
from streams.core.tiles import product
from tests.versions import SMALL, clip, grown

CONCAT = ModelConfig(head="concat", hidden_size=8, embedding_size=4, category_size=3)
VIDEOS = [clip(number) for number in range(60)]


def logits(config: ModelConfig, users: int = 200) -> np.ndarray:
    scorer = NumpyScorer(grown(config), config, 1, 0)
    hidden = np.random.default_rng(3).uniform(-1, 1, (users, 8)).astype(np.float32)
    _, keys = scorer.encode(VIDEOS)
    return product(scorer.queries(hidden), keys)


@pytest.mark.parametrize("config", [SMALL, CONCAT])
def test_queries_times_keys_are_the_logits_of_the_formula(config):
    rng = np.random.default_rng(0)
    weights, users, videos = grown(config), rng.normal(size=(70, 4)), rng.normal(size=(50, 4))
    biases = rng.normal(size=50).astype(np.float32)
    users, videos = users.astype(np.float32), videos.astype(np.float32)
    head = make_head(weights)
    expected = (
        (users @ weights["head.user"])[:, None] + (videos @ weights["head.video"])[None, :] + weights["head.bias"]
    )
    if config.head == "interaction":
        expected = expected + users @ weights["head.interaction"] @ videos.T + biases
    np.testing.assert_allclose(head.queries(users) @ head.keys(videos, biases).T, expected, rtol=1e-6, atol=2e-6)


def test_concat_is_the_published_formula():
    weights = grown(CONCAT)
    users, videos = np.random.default_rng(1).normal(size=(2, 5, 4)).astype(np.float32)
    w_score = np.concatenate([weights["head.user"], weights["head.video"]])
    both = np.concatenate([users, videos], axis=1)  # [user_vector, video_vector], pair by pair
    published = 1 / (1 + np.exp(-(both @ w_score + weights["head.bias"])))
    head = make_head(weights)
    raw = (head.queries(users) * head.keys(videos, np.ones(5, np.float32))).sum(axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-raw)), published, atol=1e-6)


def test_concat_orders_videos_alike_for_everybody():
    found = logits(CONCAT)
    order = np.argsort(-found[0], kind="stable")
    steps = np.diff(found[:, order], axis=1)
    assert (steps <= 0).all()
    assert (steps < 0).mean() > 0.95  # and that is an order, not a heap of ties


def test_concat_decides_by_user_only_how_many_exceed_the_threshold():
    found = logits(CONCAT)
    authors = np.arange(len(VIDEOS))
    policy = Policy(size=20, minimum=0, threshold=0.5, author_cap=9, exploration=0.0)
    slates = rank(found.copy(), np.ones(found.shape, bool), authors, policy, np.arange(len(found), dtype=np.uint64))
    longest = max((slate.slots.tolist() for slate in slates), key=len)
    assert all(slate.slots.tolist() == longest[: len(slate.slots)] for slate in slates)
    assert len({len(slate.slots) for slate in slates}) > 1


def test_interaction_orders_videos_personally():
    first = np.argmax(logits(SMALL), axis=1)
    assert len(set(first.tolist())) > 3


def test_only_interaction_uses_the_bias_of_a_video():
    weights = {"interaction": grown(SMALL), "concat": grown(CONCAT)}
    changed = {}
    for name, found in weights.items():
        config = SMALL if name == "interaction" else CONCAT
        raised = found | {"table.video.rows": found["table.video.rows"] + np.eye(5, dtype=np.float32)[4]}
        before, after = (NumpyScorer(one, config, 1, 0).encode([clip(1)])[1] for one in (found, raised))
        changed[name] = not np.array_equal(before, after)
    assert changed == {"interaction": True, "concat": False}


def test_a_cold_video_ranks_by_content_and_a_warm_one_by_what_viewers_did():
    weights = grown(SMALL, videos=10)
    scorer = NumpyScorer(weights, SMALL, 1, 0)
    twins: list[Video] = [clip(100, video_id=name) for name in ("cold", "cold too", "v3")]
    vectors, keys = scorer.encode(twins)
    np.testing.assert_array_equal(keys[0], keys[1])
    assert not np.array_equal(vectors[0], vectors[2])
