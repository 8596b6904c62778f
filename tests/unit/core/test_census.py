import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.core.pool import FreshPool
from tests.fakes import video

FRESH_MS = 50
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 200)), min_size=1, max_size=4)),
        st.tuples(st.just("withdraw"), st.integers(0, 9)),
    ),
    max_size=25,
)


@given(changes, st.integers(0, 300))
def test_the_census_counts_what_a_look_at_every_slot_would(steps, now):
    pool = FreshPool(6, FRESH_MS, 10)
    for kind, what in steps:
        if kind == "add":
            pool.add([video(number, at) for number, at in what])
        else:
            pool.withdraw(f"v{what}")
    published = pool.published_ms[: pool.size][pool.fresh(now)]
    youngest, oldest, count = pool.ages(np.array([now]))
    assert count.tolist() == [len(published)]
    assert youngest.tolist() == [max(published, default=0)]
    assert oldest.tolist() == [min([*published, now])]
    with pool.as_of(1):  # no offsets were given, so that this is the present
        assert [column.tolist() for column in pool.ages(np.array([now]))] == [
            youngest.tolist(), oldest.tolist(), count.tolist(),
        ]  # fmt: skip
