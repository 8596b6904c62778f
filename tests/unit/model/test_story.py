"""The report of a run, from records made by hand."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from model.registry import Registry
from model.report_cli import figures
from model.story import Story
from model.story_page import page
from streams.core.events import Feedback, Slate
from tests.versions import NAME, SMALL, clip, pieces, serve

START = 1_795_536_000_000


def slate(number, user, arm="online", version=0, videos=("v1", "v2"), scores=(0.8, 0.4), explored=()):
    return Slate(
        slate_id=f"s-{number}", user_id=user, event_id=f"e{number}", event_time_ms=START, made_ms=START + 1000 * number,
        state_offset=number, model_version=version, trained_through=0, youngest_ms=0, oldest_ms=0, candidates=2,
        video_ids=videos, scores=scores, explored=explored, arm=arm,
    )  # fmt: skip


def answer(number, user, label, position=0, arm="online", video="v1", revision=0, provisional=False):
    return Feedback(
        impression_id=f"s-{number}:{position}", user_id=user, video_id=video, revision=revision, offset=number,
        event_time_ms=START, impression_ms=START + 1000 * number, label=label, slate_id=f"s-{number}",
        position=position, arm=arm, provisional=provisional,
    )  # fmt: skip


@pytest.fixture
def story():
    registry = Registry(NAME, SMALL)
    for piece in (*pieces(1), serve(1, 1)):
        assert registry.feed(piece.key, piece.value) is None
    users = [f"u{number % 10}" for number in range(600)]
    slates = [(START + 1000 * at + 30, slate(at, user, version=at // 300)) for at, user in enumerate(users)]
    feedback = [answer(at, user, 0.9 if at > 300 else 0.3) for at, user in enumerate(users)]
    feedback += [answer(at, f"{user}@random", 0.2, arm="random") for at, user in enumerate(users)]
    return Story(slates, feedback, {f"v{n}": clip(n, title=f"Clip <{n}>") for n in range(60)}, registry)


def test_the_curve_and_the_rewards_are_those_of_the_arms(story):
    found = figures(story)
    online = found["curve"]["online"]
    assert (online[0][1], online[-1][1]) == (pytest.approx(0.3), pytest.approx(0.9))
    assert online[0][0] < online[-1][0] < 600
    assert found["rewards"]["random"]["mean"] == pytest.approx(0.2)
    low, high = found["rewards"]["online"]["interval"]
    assert low <= found["rewards"]["online"]["mean"] <= high


def test_delays_and_versions(story):
    found = figures(story)
    assert (found["delays"]["p50"], dict(found["delays"]["bars"])["< 35"]) == (30.0, 600)
    (version,) = found["versions"]
    assert version["version"] == 1
    assert version["feedback_to_serving_s"] == pytest.approx((START + 300_000 - _through(story)) / 1000)


def _through(story):
    return story.registry.manifests[1].trained_through_ms


def test_beliefs_leave_out_what_was_explored(story):
    tags = story.videos["v1"].tags
    (one,) = [row for row in figures(story)["beliefs"] if row["topic"] == tags[0]]
    assert one["early"] == {"impressions": 300, "expected": pytest.approx(0.8), "came": pytest.approx(0.3, abs=0.01)}
    assert one["late"]["came"] == pytest.approx(0.9, abs=0.01)
    story.slates = [(at, slate(n, "u1", explored=(0,))) for n, (at, _) in enumerate(story.slates)]
    assert not figures(story)["beliefs"]


def test_kinship_is_symmetric_with_neighbours_side_by_side(story):
    names, cosines = figures(story)["kinship"]
    assert len(names) == len(set(names)) == len(cosines) > 4
    np.testing.assert_allclose(cosines, cosines.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(cosines), 1.0)
    assert cosines[0, 1] == max(cosines[0, 1:])


def test_examples_show_first_and_last_slate_of_who_answered_most(story):
    story.feedback.append(answer(599, "u3", 1.0, position=1, video="v2"))
    first = figures(story)["examples"][0]
    assert (first["user"], first["answers"]) == ("u3", 61)
    assert (first["before"]["version"], first["after"]["version"]) == (0, 1)
    assert set(first["favourites"]) <= set(story.videos["v1"].tags) | set(story.videos["v2"].tags)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_the_page_fetches_nothing_and_escapes_what_it_shows(story):
    text = page(figures(story))
    parser = Tags()
    parser.feed(text)
    assert not [tag for tag, attrs in parser.seen if "src" in attrs or "href" in attrs or tag in ("script", "link")]
    assert "Clip &lt;1&gt;" in text
    assert "<1>" not in text
    assert len([tag for tag, _ in parser.seen if tag == "svg"]) == 3
    assert "nan" not in re.sub(r"<[^>]*>", " ", text).lower().split()


def test_a_run_that_has_hardly_begun_is_told_of(story):
    text = page(figures(Story(story.slates[:1], [], {}, Registry(NAME, SMALL))))
    assert "Too few impressions" in text
