"""Whom a user follows and knows: keys in its state, oldest first, bounded; advanced by its own events alone.

A follow names the author (`other_id`) or is of the video's author; a friend is named. Both are lists of 64-bit keys, so
a state says of no one else more than that.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.core.events import Event, EventType
from streams.core.hashing import key64

#: Events that change ties, as a mask of `EventType.code`.
TIES_MASK = sum(
    1 << kind.code for kind in (EventType.FOLLOW, EventType.UNFOLLOW, EventType.BEFRIEND, EventType.UNFRIEND)
)

Keys = tuple[int, ...]


class Ties(NamedTuple):
    """Keys of followed authors and of friends, the newest last."""

    follows: Keys = ()
    friends: Keys = ()


NONE = Ties()


def tied(ties: Ties, event: Event, author: int, most: int) -> Ties:
    """Return the ties after an event.

    Args:
      author: key of the video's author, 0 where the video is not known.
      most: follows and friends kept, each; the oldest are forgotten first.
    """
    kind, other = event.type, key64(event.other_id) if event.other_id else 0
    if kind is EventType.BEFRIEND:
        return Ties(ties.follows, _with(ties.friends, other, most))
    if kind is EventType.UNFRIEND:
        return Ties(ties.follows, _without(ties.friends, other))
    if kind is EventType.UNFOLLOW:
        return Ties(_without(ties.follows, other or author), ties.friends)
    if EventType.FOLLOW in (kind, *event.actions):
        return Ties(_with(ties.follows, other or author, most), ties.friends)
    return ties


def _with(keys: Keys, key: int, most: int) -> Keys:
    return (*_without(keys, key), key)[-most:] if key and most else keys


def _without(keys: Keys, key: int) -> Keys:
    return tuple(one for one in keys if one != key) if key in keys else keys
