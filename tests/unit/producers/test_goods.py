"""Products and live rooms of the simulator."""

import itertools
from collections import Counter

import msgspec
import pytest

from producers.catalogue import Catalogue
from producers.goods import Goods
from producers.parameters import GoodsParameters, load_parameters
from producers.simulation import Setup, Simulation
from producers.studio import Studio
from streams.core.events import EventType, Kind
from tests.unit.producers.test_simulation import Recommender

NOW = 1_800_000_000_000
P = load_parameters()


def goods(products=0.0, rooms=0.0, count=400, **changes):
    catalogue = Catalogue(P.catalogue, P.dimension, 1)
    made = Goods(catalogue, msgspec.structs.replace(GoodsParameters(), **changes), products, rooms, 1)
    return made, [made.made_of(video, NOW) for video in catalogue.open(count, NOW)], catalogue


def test_without_shares_the_videos_are_what_they_were():
    made, videos, _ = goods()
    assert {video.kind for video in videos} == {Kind.VIDEO}
    assert made.tick(NOW + 10**6) == []
    _, with_goods, _ = goods(0.2, 0.1)
    assert [video.title for video in with_goods] == [video.title for video in videos]


def test_shares_are_kept_and_each_kind_has_its_facts():
    made, videos, _ = goods(0.2, 0.1)
    held = Counter(video.kind for video in videos)
    assert 50 < held[Kind.PRODUCT] < 110
    assert 20 < held[Kind.LIVE] < 65
    for number, video in enumerate(videos):
        assert made.kind(number) is video.kind
        if video.kind is Kind.PRODUCT:
            assert 5 <= video.price <= 200
            assert (video.currency, 1 <= video.stock <= 8) == ("EUR", True)
        if video.kind is Kind.LIVE:
            assert (video.starts_ms, video.duration_ms, video.ended) == (NOW, 0, False)


def test_a_product_sells_out_and_comes_back():
    made, videos, catalogue = goods(products=1.0, count=1, restock_s=1.0)
    for left in range(videos[0].stock - 1, -1, -1):
        made.bought(0)
        ((video_id, video),) = made.tick(NOW)
        assert (video_id, video.stock) == (videos[0].video_id, left)
        assert catalogue.live[0] == (left > 0)
    made.bought(0)  # somebody was slower
    assert made.tick(NOW) == []
    ((_, back),) = made.tick(NOW + 60_000)
    assert back.stock > 0
    assert catalogue.live[0]
    assert (made.sold, made.sold_out, made.restocked) == (videos[0].stock, 1, 1)


def test_a_room_is_heard_of_until_it_ends():
    made, _, catalogue = goods(rooms=1.0, count=1, room_s=200.0, heartbeat_s=5.0)
    made.entered(0)
    heard = [(now, video) for now in range(NOW, NOW + 2_000_000, 100) for _, video in made.tick(now)]
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(heard)]
    assert max(gaps) <= 5_100
    assert [video.ended for _, video in heard] == [False] * (len(heard) - 1) + [True]
    assert len({video.viewers for _, video in heard}) > 1
    assert not catalogue.live[0]
    assert (made.visits, made.ended) == (1, 1)
    assert made.kind(0) is Kind.LIVE  # an outcome may still come


def test_what_is_withdrawn_is_not_published_again():
    made, _, catalogue = goods(products=0.5, rooms=0.5, count=2)
    for number in range(2):
        catalogue.end(number)
        made.bought(number)
    assert made.tick(NOW + 10**6) == []


@pytest.fixture(scope="module")
def run():
    sim = Simulation(P, Setup(40, ("online",), 1, "run", 2_000, 10**9, products=0.3, rooms=0.2))
    sim.begin(NOW)
    shown = {video.video_id: sim.goods.made_of(video, NOW) for video in sim.catalogue.open(200, NOW)}
    studio = Studio(sim.catalogue, P.catalogue, 5.0, 1000, NOW, sim.goods)
    recommender, events, changes = Recommender(sim), [], []
    for now in range(NOW + 20, NOW + 20_000, 20):
        for video_id, video in studio.tick(now):
            changes.append((now, video_id, video))
            shown[video_id] = video or shown[video_id]
        sent = sim.tick(now, 8, recommender.letters)
        recommender.answer(sent, now)
        events.extend(sent)
    return sim, events, shown, changes


def test_viewers_buy_products_and_enter_rooms_and_nothing_else(run):
    sim, events, shown, _ = run
    by_kind = {kind: Counter() for kind in Kind}
    for event in events:
        if event.video_id:
            by_kind[shown[event.video_id].kind].update([event.type, *event.actions])
    assert by_kind[Kind.PRODUCT][EventType.PURCHASE] > 5
    assert by_kind[Kind.LIVE][EventType.LIVE_ENTER] > 20
    assert not by_kind[Kind.LIVE][EventType.WATCH]
    for kind in (Kind.VIDEO, Kind.LIVE):
        assert not by_kind[kind][EventType.PURCHASE]
    for kind in (Kind.VIDEO, Kind.PRODUCT):
        assert not by_kind[kind][EventType.LIVE_ENTER]
    assert sim.goods.sold <= by_kind[Kind.PRODUCT][EventType.PURCHASE]
    assert sim.goods.visits == by_kind[Kind.LIVE][EventType.LIVE_ENTER]


def test_the_stock_that_is_published_falls_by_what_is_bought(run):
    sim, _, shown, changes = run
    stocks = {}
    for _, video_id, video in changes:
        if video is not None and video.kind is Kind.PRODUCT:
            stocks.setdefault(video_id, []).append(video.stock)
    assert sum(len(column) for column in stocks.values()) > 10
    assert sim.goods.ended > 2
    assert all(shown[video_id].kind is Kind.PRODUCT for video_id in stocks)
