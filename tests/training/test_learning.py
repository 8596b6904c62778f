"""A few thousand impressions from viewers with latent taste: the model ranks for viewers it was never trained on."""

import numpy as np
import pytest

from model.batches import BatchShape
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Examples, Limits
from model.serving import NumpyScorer
from model.train import Learner, RoundOptions
from model.weights import initial
from streams.core.tiles import product
from tests.training.world import World

pytestmark = pytest.mark.training

LEARNED, JUDGED = np.arange(240), np.arange(240, 300)
IMPRESSIONS, ROUNDS = 12_000, 4


def histories(world, viewers, count):
    """`count` exposures of viewers, as lists of feedback by viewer."""
    found = {int(viewer): [] for viewer in viewers}
    for record in world.exposures(count, viewers):
        found[int(record.user_id[1:])].append(record)
    return found


def scores(scorer, world, found):
    """Logits [viewers, videos] after each viewer's history, as the stream has them."""
    vectors, keys = scorer.encode(world.catalogue)
    hidden = np.zeros((len(found), scorer.hidden_size), np.float32)
    for row, records in enumerate(found.values()):
        for record in records:
            shown = vectors[[int(record.video_id[1:])]]
            inputs = np.array([record.behaviour], np.float32)
            hidden[[row]] = scorer.step(hidden[[row]], shown, inputs)
    return product(scorer.queries(hidden), keys)


def test_ranking_by_the_model_beats_popularity_for_new_viewers():
    from model.net_options import NetOptions
    from model.nets import Net

    world = World(seed=4, viewers=300, videos=400, topics=30, authors=80)
    config, shape = ModelConfig(), BatchShape()
    net = Net(config, shape, NetOptions())
    net.load(initial(config))
    catalogue = Catalogue()
    catalogue.add(world.catalogue)
    learner = Learner(net, Examples(catalogue, Limits()), shape, RoundOptions(), seed=0)
    judged = histories(world, JUDGED, 30 * len(JUDGED))
    rewards, shown = np.zeros(400), np.zeros(400)
    done = []
    for _ in range(ROUNDS):
        for record in world.exposures(IMPRESSIONS // ROUNDS, LEARNED):
            learner.store.add(record)
            rewards[int(record.video_id[1:])] += record.label
            shown[int(record.video_id[1:])] += 1
        done.append(learner.round())
    assert all(one.verdict.accepted for one in done[:2])

    learned = scores(NumpyScorer(net.export(), config, 1, 0), world, judged)
    mean = rewards.sum() / shown.sum()
    by_count = np.tile(rewards, (len(JUDGED), 1))
    by_rate = np.tile((rewards + 10 * mean) / (shown + 10), (len(JUDGED), 1))
    personal = world.share(JUDGED, learned)
    everyone = np.tile(learned.mean(axis=0), (len(JUDGED), 1))
    print({name: round(world.share(JUDGED, by), 3) for name, by in (("count", by_count), ("rate", by_rate))}, personal)
    assert personal > world.share(JUDGED, by_count) + 0.05
    assert personal > world.share(JUDGED, by_rate) + 0.02
    assert personal > world.share(JUDGED, everyone) + 0.02  # it is the person that makes the difference
