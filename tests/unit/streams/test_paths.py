"""Paths from a user to a video: the most direct first, over nodes that are there."""

from __future__ import annotations

import msgspec

from streams.core.activity import Activity
from streams.core.events import Kind
from streams.core.graph import TagPairs
from streams.core.hashing import key64
from streams.core.ties import NONE, Ties
from streams.paths import ground, in_words, paths
from tests.fakes import video


def made(number, author=1, tags=(), music=""):
    return msgspec.structs.replace(video(number, author=author), tags=tags, music_id=music)


def test_what_one_follows_comes_first_then_friends_the_newest_first():
    activity = Activity(4)
    activity.like("bob", key64("v5"), 1_000)
    activity.like("cat", key64("v5"), 3_000)
    known = ground(Ties((key64("a2"),), (key64("bob"), key64("cat"), 9)), [], activity, TagPairs())
    found = paths(made(5, 2), known, 4_000)
    assert [path["kind"] for path in found] == ["follows", "friend", "friend"]
    assert [path.get("user_id") for path in found] == [None, "cat", "bob"]
    assert found[1]["age_s"] == 1.0
    assert in_words(found[0]) == "you follow a2"
    assert in_words(found[1]) == "your friend cat liked it"
    assert paths(made(6, 3), known, 4_000) == []


def test_what_a_watched_video_shares_is_named_once_by_the_newest():
    watched = [(4, made(1, 9, ("x",), "m")), (2, made(2, 7, ("x", "y")))]
    known = ground(NONE, watched, None, TagPairs())
    found = paths(made(5, 9, ("y", "x"), "m"), known, 0)
    assert [(path["event"], path["through"], path["name"]) for path in found] == [
        (4, "author", "a9"), (4, "music", "m"), (4, "tag", "x"), (2, "tag", "y"),
    ]  # fmt: skip
    assert in_words(found[1]) == "you watched v1, also of music m"
    assert paths(made(1, 9, ("q",)), known, 0) == []  # a video is no reason for itself


def test_tags_that_go_together_are_the_last_resort():
    tags = TagPairs()
    tags.add([made(n, tags=("x", "z")) for n in range(3)])
    known = ground(NONE, [(0, made(1, 3, ("x",)))], None, tags)
    (path,) = paths(made(8, 4, ("z",)), known, 0)
    assert (path["kind"], path["name"], path["to"]) == ("related", "x", "z")
    assert in_words(path) == "you watched v1, x goes with z"


def test_a_product_is_reached_from_a_video_that_shows_it_and_the_other_way_round():
    product = msgspec.structs.replace(made(7, 3), kind=Kind.PRODUCT, shown_in=("v1",))
    for watched, target in ((made(1, 2), product), (product, made(1, 2))):
        (path,) = paths(target, ground(NONE, [(0, watched)], None, TagPairs()), 0)
        assert (path["through"], path["name"], path["video_id"]) == ("product", "v7", watched.video_id)
        assert in_words(path) == f"you watched {watched.video_id}, which goes with product v7"
