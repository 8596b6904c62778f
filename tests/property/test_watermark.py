"""The committed offset is always the end of an unbroken run of acknowledged ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.watermark import GapError, RangeWatermark, resume_at

ranges = st.lists(st.integers(1, 50), min_size=1, max_size=30).flatmap(
    lambda sizes: st.tuples(st.integers(0, 1000), st.just(sizes), st.permutations(range(len(sizes))))
)


def cut(start, sizes):
    cuts = []
    for size in sizes:
        cuts.append((start, start + size))
        start += size
    return cuts


@given(ranges)
def test_any_order_of_acknowledgements_ends_at_the_end(case):
    start, sizes, order = case
    cuts = cut(start, sizes)
    watermark = RangeWatermark(start)
    acked = set()
    for index in order:
        watermark.ack(*cuts[index])
        acked.add(index)
        unbroken = next((i for i in range(len(cuts)) if i not in acked), len(cuts))
        assert watermark.position == (cuts[unbroken][0] if unbroken < len(cuts) else cuts[-1][1])
    assert watermark.position == cuts[-1][1]


@given(ranges)
def test_acknowledging_again_changes_nothing(case):
    start, sizes, order = case
    cuts = cut(start, sizes)
    watermark = RangeWatermark(start)
    for index in order:
        watermark.ack(*cuts[index])
    for index in order:
        watermark.ack(*cuts[index])
    assert watermark.position == cuts[-1][1]


def test_the_single_record_0_moves_it():
    watermark = RangeWatermark(0)
    watermark.ack(0, 1)
    assert watermark.position == 1


@pytest.mark.parametrize("end", [5, 4])
def test_an_empty_range_is_refused(end):
    with pytest.raises(ValueError, match="empty range"):
        RangeWatermark(5).ack(5, end)


@given(st.integers(0, 100), st.integers(0, 100), st.none() | st.integers(0, 100))
def test_a_partition_never_goes_on_behind_a_gap(first, applied, committed):
    lost_states = (committed or 0) > applied
    lost_events = applied > 0 and first > applied
    if lost_states or lost_events:
        with pytest.raises(GapError, match="FRESHLOOP_APP_ID"):
            resume_at("events-0", first, applied, committed)
    else:
        assert resume_at("events-0", first, applied, committed) == max(first, applied)
