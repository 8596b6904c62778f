import numpy as np
import pytest
from msgspec.structs import replace

from streams.core.eligibility import Change
from streams.core.events import Kind, Video
from streams.core.hashing import seeds_of
from streams.core.logits import Products
from streams.core.nearest import Eligible, rank_nearest
from streams.core.pool import FreshPool, Indexing
from streams.core.ranking import Policy, rank_tiles
from streams.core.seen import SeenKeys
from tests.fakes import FakeScorer, video

ROWS, VIDEOS, NOW = 70, 900, 500
POLICY = Policy(size=6, minimum=6, threshold=0.5, author_cap=2, exploration=0.2)


class PlainIndex:
    """Looks at everything it holds; a `share` below 1 hides the rest of it."""

    def __init__(self, expected, slots, keys, share=1.0):
        self.keys, self.share = dict(zip(slots.tolist(), keys, strict=True)), share

    def put(self, slots, keys):
        self.keys.update(zip(slots.tolist(), keys, strict=True))

    def drop(self, slots):
        for slot in slots.tolist():
            self.keys.pop(slot, None)

    def search(self, queries, wanted):
        slots = np.array(sorted(self.keys))[: round(self.share * len(self.keys))]
        best = np.argsort(-(queries @ np.stack([self.keys[slot] for slot in slots.tolist()]).T), axis=1)[:, :wanted]
        out = np.full((len(queries), wanted), -1)
        out[:, : best.shape[1]] = slots[best]
        return out


def world(share=1.0, seen_each=300):
    pool = FreshPool(1000, 1000, 10, Indexing(100, lambda *given: PlainIndex(*given, share=share)))
    pool.add([video(number, published_ms=-999 + number if number < 600 else 0) for number in range(VIDEOS)])
    scorer, rng = FakeScorer(), np.random.default_rng(3)
    encoded = pool.encoded(scorer)
    queries = scorer.queries(rng.normal(size=(ROWS, scorer.hidden_size)).astype(np.float32))
    seen = [pool.keys[rng.permutation(VIDEOS)[:seen_each]].astype(np.uint32) for _ in range(ROWS)]
    return pool, encoded, Products(queries, encoded.keys[:VIDEOS]), Eligible(pool, np.full(ROWS, NOW), SeenKeys(seen))


def exact(pool, logits, eligible, policy):
    bits, minimum = eligible.bits(np.arange(ROWS)), np.full(ROWS, policy.minimum)
    return rank_tiles(logits, VIDEOS, bits, pool.authors[:VIDEOS], policy, minimum, seeds_of(0, np.arange(ROWS)))


@pytest.mark.parametrize("share", [1.0, 0.02])
def test_slates_are_the_exact_ones_when_the_index_finds_all_or_too_little(share):
    pool, encoded, logits, eligible = world(share)
    policy = Policy(6, 6, 0.5, 2, 0.0)
    found = rank_nearest(logits, encoded.index, eligible, policy, seeds_of(0, np.arange(ROWS)))
    wanted = exact(pool, logits, eligible, policy)
    assert np.array_equal(found.slots, wanted.slots)
    assert np.array_equal(found.count, wanted.count)


def test_what_is_explored_is_eligible_too():
    _pool, encoded, logits, eligible = world()
    found = rank_nearest(logits, encoded.index, eligible, POLICY, seeds_of(0, np.arange(ROWS)))
    rows, positions = np.nonzero(found.slots >= 0)
    assert eligible.at(rows, found.slots[rows, positions]).all()
    assert found.explored.any()


def test_bits_say_the_same_as_single_looks():
    _pool, _, _, eligible = world()
    bits = np.unpackbits(eligible.bits(np.arange(ROWS)), axis=1, count=VIDEOS, bitorder="little").astype(bool)
    rows, slots = np.indices(bits.shape)
    assert np.array_equal(eligible.at(rows.ravel(), slots.ravel()).reshape(bits.shape), bits)
    assert (eligible.count() <= bits.sum(axis=1)).all()


def test_withdrawn_and_expired_leave_the_index_and_come_back():
    pool, encoded, _, _ = world()
    assert len(encoded.index.keys) == VIDEOS
    pool.withdraw("v899")
    assert 899 not in encoded.index.keys
    pool.expire(100)
    assert sorted(encoded.index.keys) == list(range(100, 899))
    pool.add([video(7, published_ms=90), video(899)])
    assert {7, 899} <= encoded.index.keys.keys()


def test_a_room_is_in_the_index_while_it_is_heard_of_and_a_product_while_it_is_not_sold_out():
    pool, encoded, _, _ = world()
    room = Video(video_id="room", author_id="a", published_ms=0, kind=Kind.LIVE)
    product = Video(video_id="product", author_id="a", published_ms=0, kind=Kind.PRODUCT, stock=1)
    held = lambda: {str(pool.ids[slot]) for slot in encoded.index.keys} & {"room", "product"}  # noqa: E731
    pool.take([Change("room", room, heard_ms=10), Change("product", product)])
    assert held() == {"room", "product"}
    pool.take([Change("product", replace(product, stock=0))])
    assert held() == {"room"}
    pool.take([Change("product", product)])  # as it was: not encoded again, but there again
    pool.expire(1010)
    assert held() == set()
    pool.take([Change("room", replace(room, viewers=3), heard_ms=1011), Change("product", product)])
    assert held() == {"room"}  # the product is stale by now
    pool.take([Change("room", replace(room, ended=True), heard_ms=1012)])
    assert held() == set()


def test_a_grown_pool_is_laid_out_anew():
    made = []

    def make(expected, slots, keys):
        made.append(len(slots))
        return PlainIndex(expected, slots, keys)

    pool = FreshPool(500, 1000, 10, Indexing(20, make))
    pool.encoded(FakeScorer())
    for number in range(100):
        pool.add([video(number)])
    assert made == [20, 80]
    pool.encoded(FakeScorer(2))
    assert made == [20, 80, 100]
