"""Paths through the graph from a user to a video, as reasons: what one follows, whom one knows, what one watched.

A path names the nodes it goes over. The shortest come first: an author one follows, friends who liked this very video,
then videos that were watched and share something with it, at last tags that go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.core.activity import Activity
from streams.core.events import Video
from streams.core.graph import TagPairs
from streams.core.hashing import key64
from streams.core.ties import NONE, Ties

MOST = 4  # paths to one video
_NEAR = 4  # tags that go with a tag


@dataclass(frozen=True)
class Ground:
    """What paths start from and go over.

    Attributes:
      ties: whom the user follows and knows.
      watched: videos of the recent steps that went well, with their place among the steps, newest first.
      liked: by video key, friends who liked it lately (their names) and when.
      tags: which tags go together.
    """

    ties: Ties = NONE
    watched: Sequence[tuple[int, Video]] = ()
    liked: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    tags: TagPairs = field(default_factory=TagPairs)


def ground(ties: Ties, watched: Sequence[tuple[int, Video]], activity: Activity | None, tags: TagPairs) -> Ground:
    """Return where a user's paths start from."""
    liked: dict[int, list[tuple[str, int]]] = {}
    if activity is not None and ties.friends:
        which, videos, times = activity.likes(np.array(ties.friends, np.int64))
        for place, video, at_ms in zip(which.tolist(), videos.tolist(), times.tolist(), strict=True):
            liked.setdefault(video, []).append((activity.name(ties.friends[place]), at_ms))
    return Ground(ties, watched, liked, tags)


def paths(video: Video, known: Ground, now_ms: int, most: int = MOST) -> list[dict[str, Any]]:
    """Return the paths to a video, ready for JSON, the most direct first."""
    found = [*_followed(video, known), *_friends(video, known, now_ms), *_shared(video, known)]
    return (found or _related(video, known))[:most]


def _followed(video: Video, known: Ground) -> list[dict[str, Any]]:
    if key64(video.author_id) not in known.ties.follows:
        return []
    return [{"kind": "follows", "author_id": video.author_id}]


def _friends(video: Video, known: Ground, now_ms: int) -> list[dict[str, Any]]:
    newest = sorted(known.liked.get(key64(video.video_id), ()), key=lambda one: (-one[1], one[0]))
    return [
        {"kind": "friend", "user_id": name, "age_s": round(max(0, now_ms - at_ms) / 1000, 1)} for name, at_ms in newest
    ]


def _shared(video: Video, known: Ground) -> list[dict[str, Any]]:
    """Return paths over what a watched video and this one both have; each thing once, by the newest video."""
    named: dict[tuple[str, str], dict[str, Any]] = {}
    for event, watched in known.watched:
        if watched.video_id == video.video_id:
            continue
        for through, name in _both(watched, video):
            step = {"kind": "watched", "event": event, "video_id": watched.video_id, "through": through, "name": name}
            named.setdefault((through, name), step)
    order = ("product", "author", "music", "tag")
    return sorted(named.values(), key=lambda path: order.index(path["through"]))


def _both(one: Video, other: Video) -> list[tuple[str, str]]:
    """Return what two videos share, as kind and name; a product is shared by itself and by a video that shows it."""
    shared = [
        ("product", two.video_id) for two, shows in ((one, other), (other, one)) if shows.video_id in two.shown_in
    ]
    if one.author_id == other.author_id:
        shared.append(("author", one.author_id))
    if one.music_id and one.music_id == other.music_id:
        shared.append(("music", one.music_id))
    return shared + [("tag", tag) for tag in one.tags if tag in other.tags]


def _related(video: Video, known: Ground) -> list[dict[str, Any]]:
    """Return paths over two tags that often stand together."""
    near = {tag: [(other, count) for other, count in known.tags.near(tag, _NEAR)] for tag in video.tags}
    found = []
    for event, watched in known.watched:
        for tag, others in near.items():
            for other, count in others:
                if other in watched.tags:
                    path = {
                        "kind": "related", "event": event, "video_id": watched.video_id, "through": "tag",
                        "name": other, "to": tag,
                    }  # fmt: skip
                    found.append((-count, path))
    return [path for _, path in sorted(found, key=lambda one: one[0])]


def in_words(path: dict[str, Any]) -> str:
    """Return a path as a reason for a person."""
    kind = path["kind"]
    if kind == "follows":
        return f"you follow {path['author_id']}"
    if kind == "friend":
        return f"your friend {path['user_id']} liked it"
    if kind == "related":
        return f"you watched {path['video_id']}, {path['name']} goes with {path['to']}"
    also = "which goes with" if path["through"] == "product" else "also of"
    return f"you watched {path['video_id']}, {also} {path['through']} {path['name']}"
