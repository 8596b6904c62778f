"""The simulated world: parameters, catalogue, tastes, behaviour and the oracle."""

import unicodedata
from collections import defaultdict

import numpy as np
import pytest

from producers.behaviour import UNIFORMS, behave, expected_reward, exposure_uniforms
from producers.catalogue import Catalogue, is_simulated
from producers.oracle import Oracle
from producers.parameters import DEFAULT, load_parameters
from producers.profiles import profiles
from producers.studio import Studio
from producers.viewers import Viewers
from streams.codecs import Decoder, encode
from streams.config import ConfigError
from streams.core.events import Video

P = load_parameters()
NOW = 1_700_000_000_000
DAY_MS = 86_400_000


def catalogue(seed=1, videos=0):
    made = Catalogue(P.catalogue, P.dimension, seed)
    return made, made.open(videos, NOW)


def rewards(seed, viewers=400, videos=2000):
    """Expected rewards [V, N] of viewers and an initial catalogue."""
    made, _ = catalogue(seed, videos)
    tastes = Viewers(P.viewers, viewers, made.tags.vectors, seed).tastes(np.arange(viewers), 0.0)
    match = tastes @ made.vectors[:videos].T
    return expected_reward(match, made.quality[None, :videos], made.log_length[None, :videos], P.behaviour)


# Parameters


def test_tastes_have_at_least_sixteen_dimensions():
    assert P.dimension >= 16


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("late = 0.01", "late = 1.5", "late"),
        ("late = 0.01", "lately = 0.01", "lately"),
        ("like_bias = -3.5", "", "like_bias"),
        ("play_s = [0.15, 0.6]", "play_s = [0.6, 0.15]", "pace.play_s"),
        ("dimension = 16", "dimension = 8", "dimension"),
        ("dimension = 16", "dimension =", "cannot be used"),
    ],
)
def test_a_wrong_parameter_is_named(tmp_path, before, after, named):
    text = DEFAULT.read_text("utf-8")
    assert before in text
    path = tmp_path / "world.toml"
    path.write_text(text.replace(before, after), "utf-8")
    with pytest.raises(ConfigError, match=named):
        load_parameters(path)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_parameters(tmp_path / "none.toml")


# Catalogue


def test_the_same_seed_makes_the_same_videos_and_another_seed_others():
    one, two, other = (catalogue(seed, 50)[1] for seed in (3, 3, 4))
    assert one == two
    assert [video.title for video in one] != [video.title for video in other]


def test_every_video_is_a_valid_record():
    decode = Decoder(Video)
    made, videos = catalogue(videos=300)
    videos += [made.publish(NOW) for _ in range(200)]
    assert [decode(encode(video)) for video in videos] == videos
    assert len({video.video_id for video in videos}) == 500
    assert all(is_simulated(video.video_id) for video in videos)
    assert all(made.number(video.video_id) == number for number, video in enumerate(videos))


@pytest.mark.parametrize("name", ["v1", "s1v", "s2v5", "s1v50", "s1vx", "", "s1v-1"])
def test_ids_of_others_are_not_of_this_catalogue(name):
    made, _ = catalogue(seed=1, videos=50)
    assert made.number(name) == -1


def test_titles_come_in_several_scripts():
    _, videos = catalogue(videos=300)
    names = {unicodedata.name(char).split()[0] for video in videos for char in video.title if char.isalpha()}
    assert len(names) >= 6


def test_topics_are_readable_from_what_is_published():
    """Videos of one author, and videos with a tag in common, are more alike than others."""
    made, videos = catalogue(videos=1500)
    alike = made.vectors[:1500] @ made.vectors[:1500].T
    authors = np.array([video.author_id for video in videos])
    same_author = (authors[:, None] == authors[None, :]) & ~np.eye(1500, dtype=bool)
    tags = np.zeros((1500, len(made.tags)))
    for row, video in enumerate(videos):
        tags[row, [made.tags.names.index(tag) for tag in video.tags]] = 1
    same_tag = (tags @ tags.T > 0) & ~np.eye(1500, dtype=bool)
    assert alike[same_author].mean() > 0.4
    assert alike[same_tag].mean() > 0.2
    assert abs(alike[~same_tag & ~same_author].mean()) < 0.1


def test_new_authors_and_tags_come_over_time():
    made, _ = catalogue(videos=100)
    later = [made.publish(NOW) for _ in range(500)]
    new_authors = {video.author_id for video in later} - {f"a{number}" for number in range(P.catalogue.authors)}
    new_tags = {tag for video in later for tag in video.tags} - set(made.tags.names[: P.catalogue.tags])
    assert len(new_authors) > 30
    assert len(new_tags) > 10


def test_quality_is_standard_and_durations_stay_in_range():
    made, _ = catalogue(videos=3000)
    low, high = P.catalogue.duration_range_s
    assert made.duration_ms[:3000].min() >= 1000 * low
    assert made.duration_ms[:3000].max() <= 1000 * high
    assert abs(made.quality[:3000].mean()) < 0.25
    assert 0.8 < made.quality[:3000].std() < 1.2


# Studio


def test_the_studio_keeps_its_rate_whatever_the_ticks():
    made, _ = catalogue(videos=10)
    studio = Studio(made, P.catalogue, rate=5.0, most=10_000, start_ms=NOW)
    changes = [change for at in (7, 400, 401, 3_000, 20_000) for change in studio.tick(NOW + at)]
    assert sum(video is not None for _, video in changes) == studio.published == 100
    assert sum(video is None for _, video in changes) == studio.withdrawn == 5
    gone = [made.number(video_id) for video_id, video in changes if video is None]
    assert not made.live[gone].any()


def test_the_oldest_is_withdrawn_when_there_would_be_too_many():
    made, _ = catalogue(videos=50)
    studio = Studio(made, P.catalogue, rate=10.0, most=50, start_ms=NOW)
    changes = studio.tick(NOW + 10_000)
    assert made.live_count <= 50
    assert made.live_count == made.live[: made.count].sum()
    assert {"s1v0", "s1v1", "s1v2"} <= {video_id for video_id, video in changes if video is None}


def test_a_clock_that_goes_back_publishes_nothing_twice():
    made, _ = catalogue(videos=10)
    studio = Studio(made, P.catalogue, rate=1.0, most=100, start_ms=NOW)
    studio.tick(NOW + 3_000)
    studio.tick(NOW)
    studio.tick(NOW + 3_000)
    assert studio.published == 3


# Viewers


def viewers(count=200, **options):
    made, _ = catalogue()
    return Viewers(P.viewers, count, made.tags.vectors, 1, **options)


def test_tastes_drift_slowly_and_stay_of_length_one():
    made, who = viewers(), np.arange(200)
    start, minute, day = (made.tastes(who, at) for at in (0.0, 60.0, 86_400.0))
    assert np.allclose(np.linalg.norm(day, axis=1), 1.0)
    assert (start * minute).sum(axis=1).min() > 0.999
    assert (start * day).sum(axis=1).mean() < 0.7


def test_profiles_go_along_with_taste_for_a_share_of_the_viewers():
    found = viewers(4000)
    tastes, tags = found.tastes(np.arange(4000), 0.0), Catalogue(P.catalogue, P.dimension, 1).tags
    words = profiles(P.viewers, tastes, tags.vectors, tags.names, 1)
    assert words == profiles(P.viewers, tastes, tags.vectors, tags.names, 1)
    assert 0.25 < np.mean([bool(one) for one in words]) < 0.35
    for field, near in (("age", 0.1), ("region", 0.1), ("interest", 0.5)):
        by_word = defaultdict(list)
        for taste, own in zip(tastes, words, strict=True):
            for word in own:
                if word.startswith(f"{field}="):
                    by_word[word].append(taste)
        groups = [group for group in by_word.values() if len(group) >= 20]
        apart = [np.linalg.norm(np.mean(group, axis=0) - tastes.mean(axis=0)) for group in groups]
        assert np.mean(apart) > near, field


def test_a_jump_leaves_nothing_of_the_old_taste():
    made, who = viewers(jump_at_s=10.0), np.arange(200)
    before, after = made.tastes(who, 9.999), made.tastes(who, 10.0)
    assert np.abs((before * after).sum(axis=1)).max() < 0.01


def test_active_viewers_come_more_often():
    made = viewers()
    came = np.bincount([made.who(u) for u in (np.arange(20_000) + 0.5) / 20_000], minlength=200)
    assert np.corrcoef(came, made.activity)[0, 1] > 0.99
    assert 0 <= made.who(0.0) <= made.who(1.0 - 2**-53) < 200


# Behaviour


def test_expected_reward_is_the_mean_of_what_happens():
    rng = np.random.default_rng(5)
    for match, quality, length in ((-0.3, 0.0, 0.5), (0.0, 1.0, 0.0), (0.4, -1.0, -0.7), (0.8, 2.0, 0.0)):
        one = [np.full(200_000, value) for value in (match, quality, length)]
        happened = behave(*one, rng.random((200_000, UNIFORMS)), P.behaviour)
        expected = expected_reward(*(np.array([value]) for value in (match, quality, length)), P.behaviour)[0]
        assert happened.reward.mean() == pytest.approx(expected, abs=0.006)


def test_a_better_match_is_watched_longer_liked_more_and_skipped_less():
    u = np.random.default_rng(6).random((50_000, UNIFORMS))
    zeros = np.zeros(50_000)
    good, poor = (behave(np.full(50_000, match), zeros, zeros, u, P.behaviour) for match in (0.7, -0.2))
    assert (good.watch_ratio >= poor.watch_ratio).all()
    for name in ("liked", "shared", "commented", "followed"):
        assert getattr(good, name).mean() > 2 * getattr(poor, name).mean() > 0
    assert good.skipped.mean() < poor.skipped.mean() / 2
    assert good.hidden.mean() < poor.hidden.mean()


def test_what_happens_is_possible():
    u = np.random.default_rng(7).random((50_000, UNIFORMS))
    spread = np.random.default_rng(8).normal(size=(3, 50_000))
    found = behave(spread[0] / 4, spread[1], spread[2], u, P.behaviour)
    assert found.watch_ratio.min() >= 0
    assert found.watch_ratio.max() <= P.behaviour.loops
    assert found.reward.max() <= 2
    assert not (found.hidden & ~found.skipped).any()
    assert not (found.skipped & (found.liked | found.shared | found.commented | found.followed)).any()
    assert np.isfinite(
        behave(spread[0], spread[1], spread[2], np.full((50_000, UNIFORMS), 1 - 2**-53), P.behaviour).reward
    ).all()


def test_luck_depends_on_viewer_and_video_alone():
    who, what = np.repeat(np.arange(30), 40), np.tile(np.arange(40), 30)
    u = exposure_uniforms(9, who, what)
    mixed = np.random.default_rng(1).permutation(len(who))
    assert np.array_equal(exposure_uniforms(9, who[mixed], what[mixed]), u[mixed])
    assert len(np.unique(u)) == u.size
    assert abs(u.mean() - 0.5) < 0.02
    assert not np.array_equal(exposure_uniforms(10, who, what), u)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ideal_popularity_lands_between_a_tenth_and_two_fifths_of_the_way_to_the_oracle(seed):
    """What a viewer gets from 30 videos: the best on average, against the best for that viewer."""
    value = rewards(seed)
    popular = value[:, np.argsort(-value.mean(axis=0))[:30]].mean()
    oracle = -np.sort(-value, axis=1)[:, :30].mean()
    assert 0.1 < (popular - value.mean()) / (oracle - value.mean()) < 0.4


# Oracle


def test_the_oracle_picks_the_best_that_may_be_shown():
    made, _ = catalogue(videos=400)
    made.published_ms[:40] = NOW - 2 * DAY_MS
    for number in range(50, 90):
        made.end(number)
    tastes = Viewers(P.viewers, 25, made.tags.vectors, 1).tastes(np.arange(25), 0.0)
    seen = np.full((25, 120), -1, np.int32)
    seen[:, :100] = np.arange(100, 200)
    picked = Oracle(made, P.behaviour, DAY_MS).pick(tastes, seen, NOW)
    value = expected_reward(tastes @ made.vectors[:400].T, made.quality[:400], made.log_length[:400], P.behaviour)
    value[:, :40] = value[:, 50:90] = value[:, 100:200] = -1
    assert np.array_equal(picked, value.argmax(axis=1))


def test_the_oracle_sees_new_videos_and_withdrawals_at_once():
    made, _ = catalogue(videos=3)
    oracle = Oracle(made, P.behaviour, DAY_MS)
    tastes, unseen = made.vectors[:1].copy(), np.full((1, 4), -1, np.int32)
    assert oracle.pick(tastes, unseen, NOW)[0] in (0, 1, 2)
    for number in range(3):
        made.end(number)
    assert oracle.pick(tastes, unseen, NOW)[0] == -1
    made.publish(NOW)
    assert oracle.pick(tastes, unseen, NOW)[0] == 3
    assert oracle.pick(tastes, np.full((1, 4), 3, np.int32), NOW)[0] == -1
    assert oracle.pick(tastes, unseen, NOW + 2 * DAY_MS)[0] == -1
