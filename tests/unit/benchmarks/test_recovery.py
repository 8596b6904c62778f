import numpy as np

from benchmarks.recovery import BEFORE_MS, BLOCKS, EVENTS, PERIODS, Followed, nth

ARMS = ("online", "frozen", "popular", "random")
VIEWERS, JUMP_MS = 40, 200_000
LOW, HIGH = 0.5, 1.5


def followed(online):
    """Return measures of a world where every viewer sees a video a second; `online` gives its share by second."""
    found = Followed(ARMS, VIEWERS, 1, JUMP_MS)
    viewers = np.arange(VIEWERS)
    shares = {1: 0.2, 2: 0.1, 3: 0.0, 4: 1.0}
    for second in range(-100, 130):
        now = JUMP_MS + 1000 * second
        for arm in range(5):
            share = online(second) if arm == 0 else shares[arm]
            expected = np.full(VIEWERS, LOW + share * (HIGH - LOW)) + 0.01 * (viewers - viewers.mean())
            found.add(now, arm, viewers, expected, expected)
    return found.recovery()


def test_shares_are_of_the_minute_before_and_of_events_and_seconds_since_the_jump():
    found = followed(lambda second: 0.6 if second < 0 else min(0.6, 0.05 * (second + 1)))
    online = found["online"]
    assert online["before"][0] == 0.6
    assert [row[0] for row in online["by_events"][:3]] == [0.15, 0.4, 0.59]
    assert [row[0] for row in online["by_time"][:2]] == [0.275, 0.595]
    assert len(online["by_events"]) == BLOCKS
    assert len(online["by_time"]) == PERIODS
    assert (online["events_to_80%"], online["events_to_90%"]) == (3 * EVENTS, 3 * EVENTS)
    assert (online["seconds_to_80%"], online["seconds_to_90%"]) == (20, 20)
    assert found["frozen"]["before"][0] == 0.2
    assert found.keys() == {"online", "frozen", "popular"}


def test_what_does_not_come_back_has_no_number_of_events():
    found = followed(lambda second: 0.6 if second < 0 else 0.5)["online"]
    assert (found["events_to_80%"], found["events_to_90%"], found["seconds_to_90%"]) == (EVENTS, None, None)


def test_only_the_minute_before_counts_as_before():
    found = followed(lambda second: 0.9 if 1000 * second < -BEFORE_MS else 0.3)
    assert found["online"]["before"][0] == 0.3


def test_the_interval_is_over_viewers():
    found = Followed(ARMS, VIEWERS, 1, JUMP_MS)
    viewers = np.arange(VIEWERS)
    for arm, level in enumerate((0.5, 0.2, 0.1, 0.0, 1.0)):
        spread = 0.4 * (viewers % 2 - 0.5) * (arm == 0)
        found.add(JUMP_MS - 1, arm, viewers, spread, level + spread)
        found.add(JUMP_MS, arm, viewers, spread, level + spread)
    share, low, high = found.recovery()["online"]["before"]
    assert share == 0.5
    assert 0.4 < low < 0.5 < high < 0.6


def test_nth_counts_equal_keys_in_order():
    assert nth(np.array([7, 3, 7, 7, 3])).tolist() == [0, 0, 1, 2, 1]
