import numpy as np
import pytest

from streams.core.feedback import Impression
from streams.core.hashing import key64
from streams.core.layout import (
    StateError,
    StateShape,
    chunk_key,
    chunks_of,
    fixed_size,
    header_of,
    impressions_of,
    is_unlabelled,
    last_offset_of,
    steps_of,
    user_key,
)
from streams.core.pool import FreshPool
from streams.core.state import UserStates
from tests.fakes import video

SHAPE = StateShape(8, 4, 6, positions=8, chunk=3)


def make_pool(count=30, capacity=64):
    pool = FreshPool(capacity, 10**9, 10)
    pool.add([video(number) for number in range(count)])
    return pool


def see(states, user, *numbers):
    for number in numbers:
        slot = states._pool.slot(f"v{number}")
        states.mark_seen(states.rows([user]), np.array([slot]), np.array([key64(f"v{number}")]))


def lows(*numbers):
    return [key64(f"v{number}") & 0xFFFF_FFFF for number in numbers]


def seen_slots(states, user):
    bits = np.unpackbits(states.seen_bits[states.row(user)], bitorder="little")
    return set(np.flatnonzero(bits).tolist())


def reloaded(states, store, user, pool=None, shape=None):
    again = UserStates(shape or states.shape, pool or states._pool)
    again.load(user, store[user_key(user)], store)
    return again


def test_a_state_comes_back_to_the_bit():
    states = UserStates(SHAPE, make_pool())
    row = states.row("a")
    rng = np.random.default_rng(1)
    for name in ("hidden", "recent_videos", "recent_numbers", "slate_chances", "slate_masks"):
        column = states.table[name][row]
        column[...] = rng.integers(0, 100, column.shape)
    states.table["last_offset"][row], states.table["steps"][row] = 77, 9
    see(states, "a", 1, 2, 3, 4, 99)
    states.set_open(row, [Impression("0-7", 2, "", "v5", 1000)])
    store = states.pack(["a"])
    again = reloaded(states, store, "a")
    assert again.pack(["a"]) == {user_key("a"): store[user_key("a")]}
    record = store[user_key("a")]
    assert (last_offset_of(record), steps_of(record), is_unlabelled(record)) == (77, 9, True)
    assert impressions_of(record) == states.impressions[row]


def test_a_record_ends_with_what_is_filled():
    states = UserStates(SHAPE, make_pool())
    see(states, "a", 1, 2)
    assert len(states.pack(["a"])[user_key("a")]) == fixed_size(SHAPE) + 8
    see(states, "a", 3)
    store = states.pack(["a"])
    assert len(store[user_key("a")]) == fixed_size(SHAPE)
    assert next(iter(store)) == chunk_key("a", 0)  # written before the state that rests on it
    assert states.pack(["a"]).keys() == {user_key("a")}  # and only once


@pytest.mark.parametrize("recent", [3, 4, 5])
def test_equal_states_have_equal_bytes_whatever_memory_held_before(recent):
    shape, found = StateShape(8, recent, 6, positions=8, chunk=3), set()
    for _ in range(3):
        junk = [np.full(200_000, 255, np.uint8) for _ in range(20)]
        del junk
        states = UserStates(shape, make_pool())
        states.rows([f"u{at}" for at in range(400)])
        see(states, "a", 1)
        found.add(states.pack(["a"])[user_key("a")])
    assert len(found) == 1
    record = found.pop()
    assert len(record) == fixed_size(shape) + 4
    assert reloaded(states, {user_key("a"): record}, "a").pack(["a"])[user_key("a")] == record


def test_the_header_says_what_the_record_holds():
    states = UserStates(SHAPE, make_pool())
    see(states, "a", 1)
    head = header_of(states.pack(["a"])[user_key("a")])
    assert (head.hidden, head.recent, head.chunk, head.seen_count, head.last_offset) == (8, 4, 3, 1, -1)


def test_seen_videos_are_remembered_by_the_chunk_and_the_oldest_forgotten():
    states, store = UserStates(SHAPE, make_pool()), {}
    for number in range(14):
        see(states, "a", number)
        store |= states.pack(["a"])
    kept = range(6, 14)  # two full chunks of three, and two of the next
    assert states.seen_keys(states.row("a")).tolist() == lows(*kept)
    assert seen_slots(states, "a") == set(kept)
    assert len(chunks_of(store[user_key("a")], "a", SHAPE)) == 2
    again = reloaded(states, store, "a")
    assert again.seen_keys(again.row("a")).tolist() == lows(*kept)
    assert seen_slots(again, "a") == set(kept)


def test_a_video_is_remembered_once():
    states = UserStates(SHAPE, make_pool())
    see(states, "a", 1, 1, 99, 99)
    assert states.table["seen_count"][states.row("a")] == 2


def test_a_video_published_after_it_was_seen_is_known_as_seen():
    pool = make_pool(5)
    states = UserStates(SHAPE, pool)
    see(states, "a", 40)
    given = pool.add([video(40)])
    states.place(list(given), list(given.values()))
    assert seen_slots(states, "a") == {pool.slot("v40")}
    assert seen_slots(reloaded(states, states.pack(["a"]), "a"), "a") == {pool.slot("v40")}


def test_a_slot_given_to_another_video_is_no_longer_seen_until_its_old_one_comes_back():
    pool = FreshPool(2, 100, 10)
    pool.add([video(1, 0), video(2, 50)])
    states = UserStates(SHAPE, pool)
    see(states, "a", 1)
    given = pool.add([video(3, 60)])
    states.place(list(given), list(given.values()))
    assert seen_slots(states, "a") == set()
    given = pool.add([video(1, 70)])
    states.place(list(given), list(given.values()))
    assert seen_slots(states, "a") == {pool.slot("v1")}


def test_videos_whose_keys_share_their_low_bits_are_seen_together(monkeypatch):
    from streams.core import slots as module

    monkeypatch.setattr(module, "key64", lambda text: key64(text) if text != "v2" else (1 << 40) | lows(1)[0])
    pool = make_pool(4)
    states = UserStates(SHAPE, pool)
    see(states, "a", 1)
    assert pool.twins
    assert seen_slots(states, "a") == {1, 2} == seen_slots(reloaded(states, states.pack(["a"]), "a"), "a")


def test_more_or_fewer_recent_steps_and_positions_can_be_read():
    states = UserStates(SHAPE, make_pool())
    row = states.row("a")
    states.table["steps"][row] = 6
    states.table["recent_videos"][row] = [4, 5, 2, 3]  # steps 2 to 5, the ring begins anew at 4
    store = states.pack(["a"])
    fewer = reloaded(states, store, "a", shape=StateShape(8, 3, 6, positions=16, chunk=3))
    assert fewer.table["recent_videos"][fewer.row("a")].tolist() == [3, 4, 5]
    more = reloaded(states, store, "a", shape=StateShape(8, 5, 6, positions=16, chunk=3))
    assert more.table["recent_videos"][more.row("a")].tolist() == [5, 0, 2, 3, 4]


@pytest.mark.parametrize("shape", [StateShape(16, 4, 6, chunk=3), StateShape(8, 4, 6, chunk=4)])
def test_another_shape_is_refused(shape):
    states = UserStates(SHAPE, make_pool())
    states.row("a")
    with pytest.raises(StateError):
        reloaded(states, states.pack(["a"]), "a", shape=shape)


def test_least_recently_used_go_first_and_rows_are_used_again():
    states = UserStates(SHAPE, make_pool())
    for user in "abcdabc":
        states.row(user)
    assert states.oldest(4) == []
    assert states.oldest(3) == ["d"]
    see(states, "d", 1)
    states.drop(["d"])
    assert "d" not in states
    assert states.table["seen_count"][states.row("e")] == 0
    assert seen_slots(states, "e") == set()
