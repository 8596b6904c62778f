"""What `freshloop tail` says of products and live rooms."""

from types import SimpleNamespace

import pytest

from streams.codecs import encode
from streams.core.events import Kind, Slate, Video
from streams.explain import about
from streams.explain_view import kind_words, label
from streams.tail import _mark, as_text


def item(kind=Kind.PRODUCT, **fields):
    return Video(video_id="p", author_id="ann", published_ms=0, kind=kind, title="Post", **fields)


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (item(Kind.VIDEO, price=3.0, currency="EUR"), ""),
        (item(price=39.9, currency="EUR"), "[product 39.90 EUR]"),
        (item(price=1200.0), "[product 1200.00]"),
        (item(), "[product]"),
        (item(Kind.LIVE, viewers=2400), "[live, 2,400 there]"),
    ],
)
def test_words_by_kind(video, words):
    assert kind_words(about(video)) == words
    assert label(about(video)) == f"{words} ann Post".strip()


def record(topic, offset, key=b"p", value=b""):
    return SimpleNamespace(topic=topic, offset=offset, key=key, value=value)


def test_a_slate_marks_what_is_no_video():
    marks = {}
    _mark(marks, record("v", 0, b"p", encode(item(price=9.5, currency="EUR"))))
    _mark(marks, record("v", 1, b"q", encode(item(Kind.VIDEO))))
    slate = Slate(
        slate_id="0-1", user_id="u", event_id="e", event_time_ms=1, made_ms=1, state_offset=1, model_version=0,
        trained_through=0, youngest_ms=0, oldest_ms=0, candidates=2, video_ids=("p", "q"), scores=(0.5, 0.25),
    )  # fmt: skip
    assert as_text(slate, marks=marks).endswith(r"p 0.50 \[product 9.50 EUR]  q 0.25")
    for gone in (None, b"\xc1"):
        _mark(marks, record("v", 2, b"p", gone))
        assert marks == {}
        assert as_text(slate, marks=marks).endswith("p 0.50  q 0.25")
