"""A version on trial serves its share of the users, and nobody else notices."""

from dataclasses import replace

import numpy as np

from streams.core.events import EventType
from streams.core.hashing import bucket
from streams.core.ports import Trial, trial_salt
from streams.core.step import Partition
from streams.journal import Journal, decode_entry, encode_entry
from streams.models import Serving, ServingModels
from tests.fakes import FakeScorer, event
from tests.property.test_batch_cuts import CONFIG, make_pool

USERS = [f"u{at}" for at in range(40)] + [f"u{at}@popular" for at in range(20)]


class Other(FakeScorer):
    """A version with another taste."""

    def queries(self, hidden):
        return -super().queries(hidden)


def run(scorer, trial=None):
    core = Partition(0, replace(CONFIG, arms={"popular": "popular"}), make_pool())
    events = [(at, 1_000 + at, event(user, EventType.WATCH, at % 5, 1_000, event_id=f"e{at}"))
              for at, user in enumerate(USERS * 2)]  # fmt: skip
    effects = core.apply(core.plan(events), lambda arm: scorer, trial)
    hidden = {user: core.states.table["hidden"][core.states.row(user)].copy() for user in USERS}
    return {slate.slate_id: slate for slate in effects.slates}, hidden


def chosen(user):
    return bucket(user, trial_salt(2)) < 0.4 and "@" not in user


def test_each_user_is_served_as_if_its_version_were_the_only_one():
    one, other = FakeScorer(1), Other(2)
    (alone, hidden_alone), (second, hidden_second) = run(one), run(other)
    both, hidden = run(one, Trial(other, 0.4))
    assert both.keys() == alone.keys()
    for key, slate in both.items():
        expected = (second if chosen(slate.user_id) else alone)[key]
        assert (slate.model_version, slate.arm) == (expected.model_version, expected.arm)
        assert list(slate.video_ids) == list(expected.video_ids)
    for user in USERS:
        np.testing.assert_array_equal(hidden[user], (hidden_second if chosen(user) else hidden_alone)[user])
    assert 8 <= sum(map(chosen, USERS)) <= 24


class Versions:
    """Says what serves, and what is on trial."""

    def __init__(self):
        self.now, self.tried = FakeScorer(1), None

    def feed(self, key, value):
        return None

    def current(self):
        return self.now

    def trial(self):
        return self.tried

    def first_at_least(self, trained_through):
        return None


def test_a_trial_begins_and_ends_with_what_the_topic_says():
    versions, swaps = Versions(), []
    models = ServingModels(versions, FakeScorer(0), make_pool(), 10**9, lambda scorer: swaps.append(scorer.version))
    models.feed(b"", b"")
    versions.tried = Trial(Other(2), 0.4)
    models.feed(b"", b"")
    assert models.trial == versions.tried
    assert {models.scorer_of(user, "online").version for user in USERS} == {1, 2}
    assert models.scorer("online").version == 1
    versions.tried = None
    models.feed(b"", b"")
    assert models.trial is None
    assert swaps == [1]


def test_what_was_on_trial_is_known_again_when_events_are_applied_again():
    versions = Versions()
    versions.version = lambda number: {1: FakeScorer(1), 2: Other(2)}.get(number)
    versions.tried = Trial(Other(2), 0.4)
    models = ServingModels(versions, FakeScorer(0), make_pool(), 10**9, lambda scorer: None)
    models.feed(b"", b"")
    then = models.serving
    journal = Journal()
    entry = journal.note(7, then.online, then.frozen, 3, then.trial, then.share)
    assert journal.note(9, then.online, then.frozen, 3, then.trial, then.share) is None
    versions.tried = None
    models.feed(b"", b"")
    assert models.serving != then
    assert journal.note(11, *models.serving[:2], 3) is not None  # the end of a trial is an entry of its own
    again = decode_entry(encode_entry(entry))
    scorers, trial = models.as_of(Serving(again.online, again.frozen, again.trial, again.share))
    assert (scorers("online").version, trial.scorer.version, trial.share) == (1, 2, 0.4)
    assert models.as_of(Serving(1, -1, 5, 0.4)) is None  # a version that is no longer there
    assert decode_entry(encode_entry([4, 7, 1, -1, 3])).trial == 0  # as written before there were trials
