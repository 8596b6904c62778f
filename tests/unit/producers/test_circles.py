"""Whom viewers know and follow: the nearest of those met, never themselves, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from producers.catalogue import unit
from producers.circles import Circles
from producers.parameters import SocialParameters, load_parameters
from producers.simulation import Setup, Simulation
from streams.core.events import EventType

NOW = 1_700_000_000_000


@pytest.mark.parametrize("viewers", [1, 2, 5, 200])
def test_friends_are_others_each_once_and_nearer_than_chance(viewers):
    rng = np.random.default_rng(1)
    tastes, authors = unit(rng.normal(size=(viewers, 16))), unit(rng.normal(size=(50, 16)))
    found = Circles(SocialParameters(4, 2, 32), tastes, authors, 7)
    assert found.friends.shape == (viewers, min(4, viewers - 1))
    assert found.follows.shape == (viewers, 2)
    for viewer, friends in enumerate(found.friends.tolist()):
        assert viewer not in friends
        assert len(set(friends)) == len(friends)
    if viewers == 200:
        near = np.einsum("vd,vfd->vf", tastes, tastes[found.friends])
        assert near.mean() > 0.3
        assert np.einsum("vd,vad->va", tastes, authors[found.follows]).mean() > 0.3
    again = Circles(SocialParameters(4, 2, 32), tastes, authors, 7)
    assert np.array_equal(found.friends, again.friends)
    assert Circles(SocialParameters(0, 0, 1), tastes, authors, 7).friends.shape == (viewers, 0)


def test_a_viewer_says_it_once_in_each_arm_and_names_the_arms_copy():
    arms = ("online", "frozen")
    world = structs.replace(load_parameters(), social=SocialParameters(4, 2, 32))
    sim = Simulation(world, Setup(20, arms, 1, "run", 2_000, 10**9))
    sim.begin(NOW)
    sim.catalogue.open(50, NOW)
    events = [one for now in range(NOW, NOW + 3_000, 20) for one in sim.tick(now, 50, {})]
    ties = [one for one in events if one.type in (EventType.FOLLOW, EventType.BEFRIEND)]
    assert len(ties) == sim.counts["ties"] == len({(one.user_id, one.type, one.other_id) for one in ties}) > 0
    for one in ties:
        if one.type is EventType.BEFRIEND:
            assert one.other_id.rpartition("@")[2] == one.user_id.rpartition("@")[2]
        else:
            assert one.other_id in sim.catalogue.authors.names
    first = {one.user_id: one.type for one in reversed(events)}
    assert EventType.OPEN not in first.values()  # what one knows is said before the feed is opened
