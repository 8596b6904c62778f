"""Compiled functions work where nothing can be kept on disk, and do what they do in plain Python."""

from __future__ import annotations

import numpy as np

from streams.core.compiled import compiled
from streams.core.hashing import draws, mix64
from streams.core.positions import _mix


def test_what_cannot_be_kept_is_compiled_all_the_same():
    names = {}
    exec("def twice(values):\n    return values * 2", names)  # from no file: nothing to keep it beside
    twice = compiled("int64[::1](int64[::1])")(names["twice"])
    assert twice(np.arange(3)).tolist() == [0, 2, 4]
    assert twice.stats.cache_path is None


def test_what_can_be_kept_is():
    from streams.core.best import take_best

    assert take_best.stats.cache_path


def test_words_are_mixed_as_by_numpy():
    words = draws(np.arange(5, dtype=np.uint64), 20).ravel()
    assert [_mix(word) for word in words] == mix64(words).tolist()
