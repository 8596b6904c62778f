"""Titles alone teach the model what a video nobody has watched is like; here they are Chinese."""

import msgspec
import numpy as np
import pytest

from model.batches import BatchShape, batches
from model.catalogue import Catalogue
from model.config import ModelConfig
from model.examples import Examples, Limits
from model.serving import NumpyScorer
from model.weights import check, initial
from streams.core.hashing import key64
from tests.training.world import World

pytestmark = pytest.mark.training

CONFIG = ModelConfig(hidden_size=16, embedding_size=8, category_size=4)
SHAPE = BatchShape(rows=32, steps=8, examples=128, history=4)
EVEN = [key64(f"v{number}") for number in range(0, 300, 2)]
HAN = "天地人山水火木金土日月星雨雪風花草鳥魚馬犬猫米茶酒刀弓車舟門家城海川石玉衣食光音色力心手足目口耳"


def titled(video):
    """The video with nothing but a title: two Chinese words for each tag, no author, tags, music or duration."""
    numbers = [int(tag[1:]) for tag in video.tags]
    title = "".join(HAN[one % len(HAN)] + HAN[(7 * one + 3) % len(HAN)] for one in numbers)
    return msgspec.structs.replace(video, author_id=video.video_id, tags=(), music_id="", duration_ms=0, title=title)


def learned(world, read):
    """A net that learned from videos with even numbers, and its loss on those with odd ones."""
    from model.net_options import NetOptions
    from model.nets import Net

    catalogue = Catalogue(read)
    catalogue.add([titled(one) for one in world.catalogue])
    store = Examples(catalogue, Limits(users=200, steps=64, examples=20_000))
    for record in world.exposures(6_000):
        store.add(record)
    slots = np.flatnonzero(store.arrival >= 0)
    even = np.isin(catalogue.features["key"][store.video[slots]], EVEN)
    net = Net(CONFIG, SHAPE, NetOptions(rate=0.002, own_scale=0.0, read=read), seed=1)
    net.load(initial(CONFIG))
    rng = np.random.default_rng(0)
    for _ in range(3):
        list(net.run(catalogue, batches(store, slots[even], SHAPE, rng)))
    losses = []
    for batch in batches(store, slots[~even], SHAPE):
        logits = net.logits(catalogue, batch)
        labels = batch.label[: len(logits)]
        losses.append(np.logaddexp(0, logits) - labels * logits)
    return net, float(np.concatenate(losses).mean())


@pytest.fixture(scope="module")
def world():
    return World(viewers=60, videos=300, topics=12, authors=60)


def test_chinese_titles_tell_of_videos_that_nobody_has_watched(world):
    (net, read), (_, blind) = learned(world, True), learned(world, False)
    assert read < blind - 0.005
    weights = net.export()
    check(weights, CONFIG)
    assert len(weights["table.text.keys"]) > 10
    known = titled(world.catalogue[0])
    anew = msgspec.structs.replace(known, video_id="new", author_id="new")
    plain = msgspec.structs.replace(anew, title="")
    vectors = NumpyScorer(weights, CONFIG, 1, 0).encode([anew, plain])[0]
    assert not np.allclose(vectors[0], vectors[1], atol=0.05)


def test_where_titles_are_not_wanted_the_rows_of_earlier_versions_go():
    from model.net_options import NetOptions
    from model.nets import Net

    rows = {"table.text.keys": np.array([3, 9]), "table.text.rows": np.ones((2, CONFIG.embedding_size), np.float32)}
    for read in (True, False):
        net = Net(CONFIG, SHAPE, NetOptions(read=read), seed=1)
        net.load(initial(CONFIG) | rows)
        assert ("table.text.keys" in net.export()) == read
        state = {name: value for name, value in net.optimiser().items() if ".text." not in name}
        net.set_optimiser(state)  # kept before there were titles
