from faust.types import TP

from streams.gathering import WAITING, Batch, Waiting

A, B = TP("events", 0), TP("events", 1)


def batch(begin, end, tp=A, epoch=1):
    return Batch(tp, list(range(begin, end)), begin, end, epoch)


def test_records_join_the_batch_that_waits_and_not_the_one_whose_turn_has_come():
    waiting, first = Waiting(100), batch(0, 3)
    assert waiting.add(first)
    assert not waiting.add(batch(3, 5))
    assert (first.records, first.begin, first.end) == ([0, 1, 2, 3, 4], 0, 5)
    waiting.close(first)
    assert waiting.add(batch(5, 6))
    assert (first.end, len(first.records), len(waiting)) == (5, 5, 1)


def test_a_batch_does_not_grow_beyond_its_limit_and_partitions_do_not_mix():
    waiting = Waiting(4)
    assert waiting.add(batch(0, 3))
    assert waiting.add(batch(0, 1, B))
    assert waiting.add(batch(3, 5))
    assert waiting.with_room({A, B}) == {B}
    assert len(waiting) == WAITING + 1


def test_room_comes_back_when_a_turn_has_come():
    waiting = Waiting(1)
    made = [batch(number, number + 1) for number in range(WAITING)]
    assert all(waiting.add(one) for one in made)
    assert not waiting.with_room({A})
    waiting.close(made[0])
    assert waiting.with_room({A}) == {A}


def test_nothing_joins_a_stale_batch():
    waiting, stale = Waiting(100), batch(0, 3)
    waiting.add(stale)
    assert waiting.add(batch(3, 5, epoch=2))
    waiting.clear()
    assert waiting.add(batch(3, 5, epoch=2))
    waiting.close(stale)
    assert (stale.end, len(waiting)) == (3, 1)
