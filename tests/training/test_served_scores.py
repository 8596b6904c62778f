"""What the trainer's net scores is what the stream serves: the same weights, contexts and features on both sides."""

import msgspec
import numpy as np
import pytest

from model.batches import BatchShape, batches
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Examples, Limits
from model.serving import NumpyScorer
from model.standard import STANDARD
from model.title import packed_grams
from model.weights import check
from streams.core.profile import profile_keys
from streams.core.tiles import product
from tests.training.world import World
from tests.versions import grown, table

pytestmark = pytest.mark.training


WORDS = [f"f={at}" for at in range(5)]


def with_profiles(records):
    """Every second user has told of itself before its first step."""
    known, found = set(), []
    for one in records:
        number = int(one.user_id[1:])
        tells = number % 2 and one.user_id not in known
        words = [WORDS[number % 5], WORDS[number % 3], "f=nobody knows"]
        found.append(msgspec.structs.replace(one, profile=profile_keys(words) if tells else ()))
        known.add(one.user_id)
    return found


def known_to(weights, config, videos):
    """Weights whose tables know this catalogue, and the residuals of part of it."""
    rng = np.random.default_rng(0)
    ids = {
        "author": {video.author_id for video in videos},
        "tag": {tag for video in videos for tag in video.tags},
        "music": {video.music_id for video in videos},
        "video": {video.video_id for video in videos[::2]},
    }
    grams = np.unique(np.frombuffer(b"".join(packed_grams("", one.tags) for one in videos), "<u2"))[1::2]
    weights["table.text.keys"] = grams.astype(np.int64)
    weights["table.text.rows"] = rng.normal(size=(len(grams), config.embedding_size)).astype(np.float32)
    weights[STANDARD] = np.array([[100.0], [0.5], [0.2]], np.float32)
    weights["table.profile.keys"], weights["table.profile.rows"] = table(rng, WORDS, config.hidden_size)
    for name, known in ids.items():
        width = config.embedding_size + 1 if name == "video" else config.category_size
        weights[f"table.{name}.keys"], weights[f"table.{name}.rows"] = table(rng, sorted(known), width)
    check(weights, config)
    return weights


def served_logits(scorer, videos, records):
    """The logit of each record's video, as the stream has it when it makes that record's slate."""
    vectors, keys = scorer.encode(videos)
    place = {video.video_id: at for at, video in enumerate(videos)}
    steps: dict[str, list] = {}
    for record in records:
        steps.setdefault(record.user_id, []).append(record)
    logits = {}
    for own in steps.values():
        states = [(-1, scorer.first([own[0].profile]))]
        for record in own:
            vector = vectors[[place[record.video_id]]]
            behaviour = np.array([record.behaviour], np.float32)
            states.append((record.offset, scorer.step(states[-1][1], vector, behaviour)))
        for record in own:
            seen = int(record.slate_id.rpartition("-")[2])
            hidden = [state for offset, state in states if offset <= seen][-1]
            logits[record.impression_id] = product(scorer.queries(hidden), keys[[place[record.video_id]]])[0, 0]
    return logits


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("head", ["interaction", "concat"])
def test_the_net_scores_an_example_as_the_stream_did(head, memory):
    from model.net_options import NetOptions
    from model.nets import Net

    config = ModelConfig(head=head, hidden_size=16, embedding_size=8, category_size=4, memory=memory)
    world = World(viewers=30, videos=100)
    catalogue = Catalogue(read=True)
    catalogue.add(world.catalogue)
    store = Examples(catalogue, Limits(users=100, steps=64, examples=2000))
    records = with_profiles(world.exposures(600))
    for record in records:
        store.add(record)
    weights = known_to(grown(config), config, world.catalogue)
    net = Net(config, BatchShape(), NetOptions(read=True))
    net.load(weights)
    expected = served_logits(NumpyScorer(weights, config, 1, 0), world.catalogue, records)
    found = {}
    for batch in batches(store, np.flatnonzero(store.arrival >= 0), BatchShape()):
        for slot, logit in zip(batch.slots, net.logits(catalogue, batch), strict=True):
            found[records[store.arrival[slot] - 1].impression_id] = logit
    assert len(found) == 600
    ids = list(expected)
    largest = max(1.0, max(map(abs, expected.values())))  # float32 keeps seven digits
    np.testing.assert_allclose([found[one] for one in ids], [expected[one] for one in ids], atol=1e-6 * largest, rtol=0)
