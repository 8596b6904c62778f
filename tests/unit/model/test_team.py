"""What several trainer processes agree on, with threads in their place."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from model.progress import Through
from model.team import Alone, Count, Ended, Judged, Order, Team
from model.train import RoundOptions

WAIT_S = 10.0


class Ties:
    """One of several threads that say something to each other."""

    def __init__(self, index, said, barrier):
        self.index, self.count = index, len(said)
        self._said, self._barrier = said, barrier

    def gather(self, message):
        self._said[self.index] = message
        self._barrier.wait(WAIT_S)
        told = list(self._said)
        self._barrier.wait(WAIT_S)
        return told

    def from_chief(self, message=b""):
        return self.gather(message)[0]


def together(*parts):
    """What each part returns, given its team."""
    said, barrier = [b""] * len(parts), threading.Barrier(len(parts))
    teams = [Team(Ties(index, said, barrier)) for index in range(len(parts))]
    with ThreadPoolExecutor(len(parts)) as pool:
        return [
            one.result(WAIT_S) for one in [pool.submit(part, team) for part, team in zip(parts, teams, strict=True)]
        ]


class Net:
    """Weights and what an optimiser keeps of them."""

    def __init__(self, value):
        self.weights, self.state = {"a": np.full(3, value, np.float32)}, {"steps": np.array([int(value)])}

    def export(self):
        return self.weights

    def optimiser(self):
        return self.state

    def load(self, weights):
        self.weights, self.state = weights, {}

    def set_optimiser(self, state):
        self.state = state


def test_the_chief_counts_what_is_new_in_all():
    counts = Count(5, 100, False), Count(7, 0, False)

    def other(team):
        order = team.hear()
        team.counted(counts[1])
        return order

    assert together(lambda team: team.total(counts[0]), other) == [Count(12, 100, False), Order("count")]


def test_all_end_when_one_of_them_is_asked_to():
    def chief(team):
        with pytest.raises(Ended):
            team.total(Count(0, 0, False))

    def other(team):
        team.hear()
        team.counted(Count(0, 0, True))
        return team.hear().kind

    assert together(chief, other) == [None, "end"]


def test_a_round_begins_with_the_chiefs_weights_and_optimiser():
    nets = Net(1.0), Net(2.0)
    together(lambda team: team.share(nets[0]), lambda team: team.share(nets[1]))
    for net in nets:
        np.testing.assert_array_equal(net.weights["a"], np.ones(3))
        assert net.state["steps"].tolist() == [1]


def test_all_judge_on_what_each_held_back_and_users_keep_apart():
    def judged(value, users):
        column = np.full(len(users), value, np.float32)
        return Judged(column, column + 1, column + 2, np.array(users, np.int64))

    parts = judged(1.0, [0, 0, 3]), judged(5.0, [0, 3])
    one, other = together(lambda team: team.joined(parts[0]), lambda team: team.joined(parts[1]))
    for name in Judged._fields:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.candidate.tolist() == [1, 1, 1, 5, 5]
    assert one.incumbent.tolist() == [2, 2, 2, 6, 6]
    assert len(set(one.user.tolist())) == 4
    assert one.user[0] == one.user[1]


def test_steps_are_as_many_as_the_longest_has_and_offsets_are_their_readers():
    assert together(lambda team: team.most(3), lambda team: team.most(11)) == [11, 11]
    before, chief = Through(100, {0: 40, 1: 60}, 5), Through(130, {0: 70, 1: 60}, 9)
    start, other = Through(0, {0: 40, 1: 60}), Through(8, {0: 40, 1: 68}, 12)
    found, _ = together(lambda team: team.through(before, chief), lambda team: team.through(start, other))
    assert found == Through(138, {0: 70, 1: 68}, 12)


def test_one_process_is_a_team_of_its_own():
    alone, own = Alone(), Through(3, {0: 3}, 1)
    assert alone.through(Through(), own) is own
    assert alone.most(4) == 4
    assert alone.total(Count(1, 2, False)) == Count(1, 2, False)


def test_options_of_each_add_up_to_those_of_one():
    options = RoundOptions(most_new=1000, anchors=200, user_share=0.01)
    each = options.of_each(2)
    assert (each.most_new, each.anchors, each.user_share) == (500, 100, 0.02)
    assert options.of_each(1) == options


@pytest.mark.parametrize("own", [None, np.array([[40.0], [0.4], [0.3]], np.float32)])
def test_all_go_by_the_chiefs_statistics(own):
    other = np.array([[99.0], [0.7], [0.1]], np.float32)
    for found in together(lambda team: team.standard(own), lambda team: team.standard(other)):
        assert found is None if own is None else np.array_equal(found, own)
