"""What a user says of itself shapes the state that it begins with, and feedback tells it to the trainer."""

import numpy as np

from streams.codecs import Decoder, encode
from streams.core.events import EventType, Feedback
from streams.core.layout import tail_of, user_key
from streams.core.profile import first_states, profile_keys
from streams.core.rebuilding import rebuild
from streams.core.step import Partition
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG, make_pool

WORDS = ("age=25-34", "interest=cats")
SCORER = FakeScorer()
_decode = Decoder(Feedback)


class Run:
    def __init__(self) -> None:
        self.core = Partition(0, CONFIG, make_pool())
        self.offset = 0

    def __call__(self, *events, scorer=SCORER):
        arrivals = [(self.offset + at, one.event_time_ms, one) for at, one in enumerate(events)]
        self.offset += len(events)
        self.effects = self.core.apply(self.core.plan(arrivals), lambda arm: scorer)
        return self

    def hidden(self, user="u"):
        return self.core.states.table["hidden"][self.core.states.row(user)]

    def record(self, user="u"):
        return self.core.states.pack([user])[user_key(user)]

    @property
    def profiles(self):
        published = [_decode(value) for _, value in self.effects.feedback_pairs()]
        assert [one.profile for one in published] == [one.profile for one in self.effects.feedback]
        return [one.profile for one in published]


def tells(words=WORDS, user="u", at=1_000):
    return event(user, EventType.PROFILE, at=at, profile=words)


def watches(number, user="u", at=2_000):
    return event(user, EventType.WATCH, number, at, watch_ms=5_000)


def test_keys_are_distinct_ascending_and_hold_no_word():
    keys = profile_keys((*WORDS, *reversed(WORDS)))
    assert list(keys) == sorted(set(keys))
    assert len(keys) == 2
    assert profile_keys(()) == ()


def test_the_first_slate_is_that_of_the_first_state_of_the_profile():
    told = Run()(tells(), event("u", EventType.OPEN))
    assert np.array_equal(told.hidden(), first_states([profile_keys(WORDS)], SCORER)[0])
    plain = Run()(event("u", EventType.OPEN), event("u", EventType.OPEN))
    assert not plain.hidden().any()
    assert told.effects.slates[0].video_ids != plain.effects.slates[1].video_ids


def test_a_state_without_profile_has_the_size_and_bytes_it_had():
    told, plain = Run()(tells(), watches(1)), Run()(watches(1))
    assert len(told.record()) > len(plain.record())
    assert tail_of(told.record()).profile == profile_keys(WORDS)
    back = Run()(tells(), tells(()), watches(1))
    assert len(back.record()) == len(plain.record())
    assert not np.array_equal(back.hidden(), told.hidden())


def test_a_profile_given_after_steps_is_as_one_given_before_while_all_steps_are_kept():
    early, late = Run()(tells(), watches(1), watches(2)), Run()(watches(1), watches(2), tells())
    late(event("u", EventType.OPEN))
    assert np.array_equal(early.hidden(), late.hidden())


def test_a_state_that_has_lost_steps_no_longer_rests_on_the_profile():
    many = [watches(number, at=2_000 + number) for number in range(CONFIG.shape.recent + 1)]
    run, plain = Run()(tells(), *many), Run()(*many)
    before = run.hidden().copy()
    assert not np.array_equal(before, plain.hidden())  # the state itself goes on as it was
    rows = np.array([run.core.states.row("u")])
    again = rebuild(run.core.states, rows, run.core.pool, SCORER)[0]
    rows = np.array([plain.core.states.row("u")])
    assert np.array_equal(again, rebuild(plain.core.states, rows, plain.core.pool, SCORER)[0])
    run(tells(("age=65+",)), event("u", EventType.OPEN))
    assert np.array_equal(run.hidden(), before)  # nor does a new profile reach it


def test_another_version_begins_anew_from_its_own_rows():
    other = FakeScorer(version=3)
    run = Run()(tells(), watches(1))(event("u", EventType.OPEN), scorer=other)
    fresh = Partition(0, CONFIG, make_pool())
    fresh.apply(fresh.plan([(0, 1_000, tells()), (1, 2_000, watches(1))]), lambda arm: other)
    assert np.array_equal(run.hidden(), fresh.states.table["hidden"][fresh.states.row("u")])
    silent = Run()(tells())(event("u", EventType.OPEN), scorer=other)
    assert np.array_equal(silent.hidden(), first_states([profile_keys(WORDS)], other)[0])


def test_feedback_tells_the_profile_until_the_first_step_is_made():
    keys = profile_keys(WORDS)
    assert Run()(tells(), watches(1), watches(2)).profiles == [keys, ()]
    assert Run()(tells(()), watches(1)).profiles == [()]
    assert Run()(watches(1), tells(), watches(2)).profiles == [(), ()]


def test_impressions_tell_it_too_also_those_that_end_without_an_outcome():
    keys = profile_keys(WORDS)
    run = Run()(tells(), event("u", EventType.OPEN))
    shown = [event("u", EventType.IMPRESSION, n, 1_500, slate_id="0-1", position=n) for n in (0, 1, 2)]
    run(*shown)
    run(event("w", EventType.OPEN, at=1_700))
    assert run.profiles == [keys] * 3  # provisional, at the deadline
    run(*(event("u", EventType.WATCH, n, 1_800, slate_id="0-1", position=n, watch_ms=900) for n in (0, 1)))
    assert run.profiles == [keys, ()]


def test_who_is_forgotten_leaves_no_profile_behind():
    run = Run()(tells(), watches(1))
    states = run.core.states
    _, removed = states.forget("u")
    assert removed["profile_fields"] == 2
    assert not states.profiles
    assert not states.has_profile.any()
    run(watches(1))
    assert run.profiles == [()]


def test_feedback_without_profile_is_written_as_before():
    run = Run()(watches(1))
    assert b"profile" not in run.effects.feedback_pairs()[0][1]
    assert b"profile" not in encode(run.effects.feedback[0])


def test_of_a_batch_only_the_slates_that_are_asked_for_are_made():
    opens = [event(f"u{at}", EventType.OPEN, event_id=f"e{at}") for at in range(5)]
    effects = Run()(*opens).effects
    assert effects.slates_of({"e3", "e1", "other"}) == [effects.slates[1], effects.slates[3]]
    assert effects.slates_of(()) == []
