from __future__ import annotations

import asyncio

import pytest

from streams.codecs import encode
from streams.core.events import Slate
from streams.http.board import Board


def slate(user, event_id="e"):
    return Slate(
        slate_id=f"0-{event_id}", user_id=user, event_id=event_id, event_time_ms=1, made_ms=1, state_offset=0,
        model_version=0, trained_through=0, youngest_ms=0, oldest_ms=0, candidates=0, video_ids=(), scores=(),
    )  # fmt: skip


def put(board, partition, *slates):
    board.published(
        partition,
        [(one.user_id.encode(), encode(one)) for one in slates],
        lambda ids: [one for one in slates if one.event_id in ids],
    )


def test_the_last_slate_of_a_user_is_held():
    board = Board()
    put(board, 0, slate("ann", "e1"), slate("bob", "e1"), slate("ann", "e2"))
    assert board.last("ann").event_id == "e2"
    assert board.last("eve") is None
    assert board.users(5) == ["ann", "bob"]


def test_the_users_served_longest_ago_are_forgotten_beyond_the_limit():
    size = len(encode(slate("u00")))
    board = Board(kept_bytes=10 * size)
    for number in range(40):
        put(board, 0, slate(f"u{number:02}"), slate(f"u{number:02}"))
    assert board.users(99) == [f"u{number:02}" for number in range(39, 29, -1)]


def test_only_slates_of_partitions_that_are_still_ours_are_kept():
    board = Board()
    put(board, 0, slate("ann"))
    put(board, 1, slate("bob"))
    board.keep({1})
    assert (board.last("ann"), board.last("bob").user_id) == (None, "bob")


def test_everyone_who_waits_for_an_event_gets_its_slate_and_nothing_is_left_behind():
    async def run():
        board = Board()
        with board.expecting("e1") as first, board.expecting("e1") as second, board.expecting("e2") as other:
            put(board, 0, slate("ann", "e1"))
            assert (await first).user_id == (await second).user_id == "ann"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(other), 0.01)
        assert board._waiting == {}

    asyncio.run(run())
