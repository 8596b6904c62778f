"""Viewers in sessions, their answers, and what is measured; with a recommender in the same process."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from msgspec import structs

from producers.behaviour import expected_reward
from producers.feeds import Feeds, Letter
from producers.measures import Measures, compare
from producers.parameters import SocialParameters, load_parameters
from producers.simulation import Setup, Simulation
from producers.studio import Studio
from producers.versions import VersionsSeen
from streams.codecs import Decoder, encode
from streams.core.events import Event, EventType, Slate

WORLD = load_parameters()
P = structs.replace(WORLD, social=SocialParameters(0, 0, 1))  # nobody says whom it knows
NOW = 1_700_000_000_000
ARMS = ("online", "frozen", "popular", "random")
HOUR_MS = 3_600_000


def slate(user="u0", items=(), slate_id="0-1", version=0, event_id="run-1", at=NOW):
    return Slate(
        slate_id=slate_id, user_id=user, event_id=event_id, event_time_ms=at, made_ms=at, state_offset=0,
        model_version=version, trained_through=0, youngest_ms=0, oldest_ms=0, candidates=0,
        video_ids=list(items), scores=[0.5] * len(items),
    )  # fmt: skip


class Recommender:
    """Answers at once: `online` as the oracle, `frozen` half blind, `popular` ideal, anything else drawn."""

    def __init__(self, sim, size=5):
        self.sim, self.size, self.letters, self.slates = sim, size, {}, {}
        self.rng = np.random.default_rng(0)
        self.silent = set()
        self.copies = {user: copy for copy, user in enumerate(sim.feeds.user_ids)}
        count = sim.catalogue.count
        who = np.arange(sim.viewers.count)
        self.value = self._value(sim.viewers.tastes(who, 0.0), count)
        blurred = self.value + self.rng.normal(size=self.value.shape) * 0.35
        self.order = {
            "online": np.argsort(-self.value, axis=1),
            "frozen": np.argsort(-blurred, axis=1),
            "popular": np.broadcast_to(np.argsort(-self.value.mean(axis=0)), self.value.shape),
        }

    def _value(self, tastes, count):
        made = self.sim.catalogue
        match = tastes @ made.vectors[:count].T
        return expected_reward(match, made.quality[:count], made.log_length[:count], P.behaviour)

    def answer(self, events, now):
        newest = {event.user_id: event for event in events if event.type is not EventType.IMPRESSION}
        for user, event in newest.items():
            viewer, _, arm = user[1:].partition("@")
            if (arm or "online") in self.silent:
                continue
            copy = self.copies[user]
            seen = set(self.sim.feeds.seen[copy].tolist())
            order = self.order.get(arm or "online")
            ranked = self.rng.permutation(self.value.shape[1]) if order is None else order[int(viewer)]
            picked = [number for number in ranked.tolist() if number not in seen][: self.size]
            name = f"0-{len(self.slates)}"
            made = slate(user, [self.sim.catalogue.video_id(one) for one in picked], name, 0, event.event_id, now)
            self.slates[name] = made
            self.letters[user.encode()] = Letter(now, encode(made))


def simulate(seconds=10, viewers=40, rate=400, arms=ARMS, seed=1, videos=300, silent=(), **setup):
    sim = Simulation(P, Setup(viewers, arms, seed, "run", 2_000, 720 * HOUR_MS, **setup))
    sim.begin(NOW)
    sim.catalogue.open(videos, NOW)
    recommender = Recommender(sim)
    recommender.silent = set(silent)
    events, tokens = [], 0.0
    for now in range(NOW + 20, NOW + 1000 * seconds, 20):
        tokens = min(tokens + rate * 0.02, rate * 0.25)
        sent = sim.tick(now, int(tokens), recommender.letters)
        tokens -= len(sent)
        recommender.answer(sent, now)
        events.extend(sent)
    return sim, events, recommender


@pytest.fixture(scope="module")
def run():
    return simulate()


# Events


def test_the_same_seed_and_the_same_slates_give_the_same_events():
    one, same, other = (simulate(seconds=4, seed=seed)[1] for seed in (1, 1, 2))
    assert one == same != other


def test_events_are_valid_and_their_ids_unique(run):
    decode = Decoder(Event)
    assert [decode(encode(event)) for event in run[1]] == run[1]
    assert len({event.event_id for event in run[1]}) == len(run[1])


def test_every_event_names_the_slate_and_the_position_it_came_from(run):
    _, events, recommender = run
    for event in events:
        if event.type not in (EventType.OPEN, EventType.PROFILE):
            made = recommender.slates[event.slate_id]
            assert made.user_id == event.user_id
            assert made.items[event.position].video_id == event.video_id


def test_an_outcome_follows_its_impression_and_reactions_follow_their_outcome(run):
    told = defaultdict(list)
    for event in run[1]:
        if event.type not in (EventType.OPEN, EventType.PROFILE):
            told[event.user_id, event.slate_id, event.position].append(event)
    assert len(told) == run[0].counts["impressions"]
    for story in told.values():
        kinds = [event.type for event in story]
        assert kinds[0] is EventType.IMPRESSION
        assert len(kinds) == 1 or kinds[1] in (EventType.WATCH, EventType.SKIP)
        assert not set(kinds[2:]) & {EventType.IMPRESSION, EventType.WATCH, EventType.SKIP}
        assert len(set(kinds)) == len(kinds)
        assert [event.event_time_ms for event in story] == sorted(event.event_time_ms for event in story)
        if len(story) > 1:
            assert story[1].watch_ms is not None
            assert not (story[1].actions and story[2:]), "reactions travel within the outcome or after it, not both"


def test_nobody_sees_a_video_twice(run):
    seen = [(event.user_id, event.video_id) for event in run[1] if event.type is EventType.IMPRESSION]
    assert len(set(seen)) == len(seen)


def test_some_outcomes_are_lost_and_some_come_after_the_label_window(run):
    sim, events, _ = run
    impressions, counts = sim.counts["impressions"], sim.counts
    shown = {(e.slate_id, e.position): e.event_time_ms for e in events if e.type is EventType.IMPRESSION}
    outcomes = [event for event in events if event.type in (EventType.WATCH, EventType.SKIP)]
    late = [e for e in outcomes if e.event_time_ms - shown[e.slate_id, e.position] > 2_000]
    assert len(late) == counts["late"] > 0
    assert 0.25 * P.pace.missing < counts["missing"] / impressions < 3 * P.pace.missing
    assert 0.25 * P.pace.late < counts["late"] / impressions < 3 * P.pace.late


def test_the_budget_is_kept(run):
    assert len(run[1]) == pytest.approx(400 * 10, rel=0.05)


def test_at_the_end_every_owed_answer_is_given_or_counted_as_missing():
    sim, events, _ = simulate(seconds=5)
    owed = len(events)
    events += sim.finish(NOW + 5_000)
    assert len(events) > owed
    outcomes = sum(event.type in (EventType.WATCH, EventType.SKIP) for event in events)
    assert outcomes == sim.counts["outcomes"] == sim.counts["impressions"] - sim.counts["missing"]


# Pairing


def test_all_arms_and_the_oracle_look_equally_often_at_the_same_moments(run):
    sim, events, _ = run
    looked = defaultdict(list)
    for event in events:
        if event.type is EventType.IMPRESSION:
            viewer, _, arm = event.user_id.partition("@")
            looked[arm].append((event.event_time_ms, viewer))
    assert looked["online"] == looked["frozen"] == looked["popular"] == looked["random"]
    assert len(set(sim.measures.summary()["measured_impressions"].values())) == 1


def test_copies_have_the_same_luck_with_the_same_video(run):
    story = defaultdict(list)
    for event in run[1]:
        if event.watch_ms is not None:
            story[event.user_id.partition("@")[0], event.video_id].append(event.watch_ms)
    assert sum(len(found) > 1 for found in story.values()) > 50
    assert all(max(found) - min(found) <= 0.01 * max(found) + 2 for found in story.values())  # tastes drift meanwhile


def test_a_better_recommender_earns_a_larger_share(run):
    found = run[0].measures.summary()
    share, interval = found["reward_share"], found["reward_share_interval"]
    assert share["random"] == 0.0
    assert share["oracle"] == 1.0
    assert share["online"] == pytest.approx(1.0, abs=0.02)
    assert share["popular"] < share["frozen"] < share["online"]
    assert found["lead"]["online-frozen"]["interval"][0] > 0
    for arm in ("online", "frozen", "popular"):
        assert interval[arm][0] <= share[arm] <= interval[arm][1]
        assert found["expected_share"][arm] == pytest.approx(share[arm], abs=0.1)


def test_an_arm_without_slates_is_opened_ever_less_often_and_does_not_stop_the_others():
    sim, events, _ = simulate(seconds=30, viewers=10, rate=60, silent={"popular"})
    shown = sim.measures.summary()["measured_impressions"]
    assert shown["popular"] == 0
    assert shown["online"] > 20
    opens = Counter(event.user_id for event in events if event.type is EventType.OPEN)
    assert all(opens[f"u{number}@popular"] <= opens[f"u{number}@online"] + 4 for number in range(10))


def test_some_viewers_say_something_of_themselves_once_in_each_arm_before_they_come(run):
    sim, events, _ = run
    first, told = {}, {}
    for event in events:
        first.setdefault(event.user_id, event.type)
        if event.type is EventType.PROFILE:
            assert event.user_id not in told
            told[event.user_id] = event.profile
    assert {first[user] for user in told} == {EventType.PROFILE}
    assert {first[user] for user in first.keys() - told.keys()} == {EventType.OPEN}
    assert 0.15 < len(told) / len(first) < 0.45
    assert all(told[user] == sim.profiles[int(user[1:].partition("@")[0])] for user in told)


def test_without_any_slate_only_opens_are_sent_and_ever_less():
    sim, events, _ = simulate(seconds=60, viewers=10, rate=1000, silent=ARMS)
    assert {event.type for event in events} == {EventType.OPEN, EventType.PROFILE}
    assert len(events) <= 10 * 4 * 6
    assert sim.sessions.active == 10


def test_every_taste_jumps_when_it_should_and_the_steps_after_it_are_measured():
    sim, _, _ = simulate(seconds=16, arms=("online", "random"), rate=300, jump_at_s=8.0)
    found = sim.measures.summary()
    before = found["curve"][0]["reward"]
    after = found["after_jump"]
    assert before["online"] > 1.5 * before["random"]
    assert np.mean(after["online"][:5]) < 0.75 * before["online"], "the recommender did not follow"
    assert np.mean(after["oracle"][:5]) > 0.9 * before["oracle"], "the oracle did"


# Feeds


def feeds():
    sim = Simulation(P, Setup(1, ("online",), 1, "run", 1_000, HOUR_MS))
    sim.catalogue.open(5, NOW)
    return Feeds(["u0"], sim.catalogue, 4), sim.catalogue


def letter(items, arrived=NOW, **fields):
    return {b"u0": Letter(arrived, encode(slate(items=items, **fields)))}


def test_positions_that_were_seen_withdrawn_or_belong_to_others_are_passed_over():
    found, catalogue = feeds()
    catalogue.end(2)
    found.see(np.array([0]), np.array([1]))
    shown = found.peek(0, letter(["s1v1", "s1v2", "x9", "s1v4"]), NOW)
    assert (shown.number, shown.position) == (4, 3)
    assert (found.unknown, found.gone) == (1, 1)


def test_a_newer_slate_replaces_the_older_and_an_exhausted_one_shows_nothing():
    found, _ = feeds()
    first, second = letter(["s1v0", "s1v1"]), letter(["s1v3"], slate_id="0-2")
    assert found.peek(0, first, NOW).number == 0
    found.see(np.array([0]), np.array([0]))
    assert found.peek(0, first, NOW).number == 1
    assert found.peek(0, second, NOW).slate_id == "0-2"
    found.see(np.array([0]), np.array([3]))
    assert found.peek(0, second, NOW) is None


def test_a_slate_from_before_the_session_is_not_looked_at():
    found, _ = feeds()
    assert found.peek(0, letter(["s1v0"], arrived=NOW - 1), NOW) is None


def test_a_slate_that_cannot_be_read_is_counted():
    found, _ = feeds()
    assert found.peek(0, {b"u0": Letter(NOW, b"\xc1")}, NOW) is None
    assert found.bad == 1


def test_only_the_last_videos_are_remembered():
    found, _ = feeds()
    for number in (0, 1, 2, 3, 4):
        found.see(np.array([0]), np.array([number]))
    assert sorted(found.seen[0].tolist()) == [1, 2, 3, 4]


# Measures


def test_shares_of_known_sums():
    sums = np.zeros((3, 4, 2))
    sums[0], sums[2] = [[6.0, 6.0], [3.0, 5.0], [2.0, 2.0], [10.0, 10.0]], 10.0
    sums[1] = sums[0]
    found = compare(sums, ("online", "frozen", "random", "oracle"), np.ones((400, 2)))
    assert found["reward_share"] == {"online": 0.5, "frozen": 0.25, "random": 0.0, "oracle": 1.0}
    assert found["reward_share_interval"]["online"] == [0.5, 0.5]
    assert found["lead"]["online-frozen"] == {"share": 0.25, "interval": [0.25, 0.25]}


def test_nothing_is_claimed_before_there_is_something_to_claim():
    found = Measures(("online", "random"), 5, seed=1).summary()
    assert set(found["reward_share"].values()) == {None}
    assert found["reward"] == {"online": None, "random": None, "oracle": None}


def test_a_fresh_beginning_leaves_the_whole_run_and_the_last_minute_their_own():
    measures = Measures(("random",), 3, seed=1)
    who, one = np.arange(3), np.ones(3)
    measures.add(NOW, 0, who, one, one)
    assert measures.summary()["measured_impressions"]["random"] == 3
    measures.begin(NOW + 90_000)
    measures.add(NOW + 90_000, 0, who, 0 * one, one)
    found = measures.summary()
    assert found["measured_since_ms"] == NOW + 90_000
    assert found["reward"]["random"] == found["last_minute"]["reward"]["random"] == 0.0
    assert found["whole_run"]["reward"]["random"] == 0.5
    assert len(found["curve"]) == 2


def test_many_viewers_are_resampled_in_groups():
    measures = Measures(("random",), 5_000, seed=1)
    measures.add(NOW, 0, np.arange(5_000), np.full(5_000, 0.25), np.ones(5_000))
    found = measures.summary()
    assert found["measured_impressions"]["random"] == 5_000
    assert found["reward"]["random"] == 0.25


def test_rewards_are_told_apart_by_version_and_by_step():
    measures = Measures(("online",), 2, seed=1)
    measures.add(NOW, 0, np.array([0, 1]), np.array([0.2, 0.4]), np.zeros(2), [1, 2])
    measures.add(NOW, 0, np.array([1]), np.array([1.0]), np.zeros(1), [2])
    found = measures.summary()
    assert found["by_version"]["online"] == {
        "1": {"impressions": 1, "reward": 0.2},
        "2": {"impressions": 2, "reward": 0.7},
    }
    assert found["first_ten"]["online"][:3] == [0.3, 1.0, None]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(3), 0
    for seed in range(60):
        own = rng.normal(size=(3, 80)) * 0.1 + np.array([[0.7], [0.4], [1.0]])
        sums = np.zeros((3, 3, 80))
        sums[0], sums[2] = own, 1.0
        measures = Measures(("online", "random"), 80, seed)
        low, high = compare(sums, measures.arms, measures._weights)["reward_share_interval"]["online"]
        hits += low <= 0.5 <= high
    assert hits >= 51


# Versions


def test_the_frozen_arm_is_behind_only_after_the_workers_have_settled():
    seen = VersionsSeen(("online", "frozen"), "run")
    seen.note(0, slate(version=1), NOW)
    seen.note(1, slate(version=1), NOW)
    seen.note(0, slate(version=2), NOW + 1_000)
    seen.note(1, slate(version=1), NOW + 3_000)
    assert seen.frozen_since_ms is None
    seen.note(1, slate(version=2), NOW + 5_000)
    assert seen.frozen_since_ms is None
    seen.note(1, slate(version=1), NOW + 5_100)
    assert seen.frozen_since_ms == NOW + 5_100
    assert seen.versions() == {"online": [1, 2], "frozen": [1, 2]}


def test_delays_are_those_of_this_run():
    seen = VersionsSeen(("online",), "run")
    assert seen.delay_ms() == {"p50": None, "p99": None, "count": 0}
    for delay in range(1, 101):
        seen.note(0, slate(at=NOW), NOW + delay)
    seen.note(0, slate(event_id="running-1", at=NOW), NOW + 9_000)
    assert seen.delay_ms() == {"p50": 50, "p99": 99, "count": 100}


def test_the_studio_works_beside_the_viewers():
    sim = Simulation(P, Setup(10, ("online",), 1, "run", 1_000, 720 * HOUR_MS))
    sim.begin(NOW)
    sim.catalogue.open(20, NOW)
    changes = Studio(sim.catalogue, P.catalogue, 10.0, 1000, NOW).tick(NOW + 5_000)
    assert len([video for _, video in changes if video]) == 50
