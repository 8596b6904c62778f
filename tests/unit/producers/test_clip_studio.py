"""Clips of the simulated studio: on a shelf, bounded, and about what their videos are about."""

from __future__ import annotations

import numpy as np
import pytest

from producers.catalogue import Catalogue, unit
from producers.clip_studio import recorded, rendered
from producers.parameters import load_parameters
from streams.config import ConfigError


def test_a_rendered_shelf_is_kept_and_gives_the_nearest(tmp_path):
    topics = unit(np.random.default_rng(0).normal(size=(3, 16)))
    shelf = rendered(tmp_path / "clips", topics, ["a1", "a2", "a1"], lambda text: None)
    files = sorted((tmp_path / "clips").iterdir())
    assert len(files) == 3
    before = [path.stat().st_mtime_ns for path in files]
    again = rendered(tmp_path / "clips", topics, ["a1", "a2", "a1"], lambda text: None)
    assert [path.stat().st_mtime_ns for path in files] == before
    assert len({shelf(topic) for topic in topics}) == 3
    assert shelf(topics[1] + 0.1 * topics[0]) == again(topics[1])
    assert b"ftyp" in files[0].read_bytes()[:16]


def test_recorded_clips_stand_in_their_place(tmp_path):
    with pytest.raises(ConfigError, match="no clips"):
        recorded(tmp_path, 16)
    for name in ("one.mp4", "two.mkv", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    shelf = recorded(tmp_path, 16)
    found = {shelf(topic) for topic in np.random.default_rng(0).normal(size=(50, 16))}
    assert found == {str(tmp_path / "one.mp4"), str(tmp_path / "two.mkv")}


def test_a_video_has_the_media_of_its_topic_and_is_otherwise_the_same():
    parameters = load_parameters()
    plain, filmed = (Catalogue(parameters.catalogue, parameters.dimension, 5) for _ in range(2))
    filmed.media_of = lambda topic: f"clip-{topic[0]:.3f}"
    for one, other in zip(plain.open(20, 0), filmed.open(20, 0), strict=True):
        number = filmed.number(other.video_id)
        assert (one.media, other.media) == ("", f"clip-{filmed.vectors[number, 0]:.3f}")
        assert (one.title, one.tags, one.author_id) == (other.title, other.tags, other.author_id)
