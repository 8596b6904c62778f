"""Compiled functions work where nothing can be kept on disk, and do what they do in plain Python."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from streams.core.compiled import compiled
from streams.core.hashing import draws, mix64
from streams.core.positions import _mix

CORE = Path(__file__).parents[3] / "streams" / "core"
COMPILING = [path for path in sorted(CORE.glob("*.py")) if "import compiled" in path.read_text()]


def test_what_cannot_be_kept_is_compiled_all_the_same():
    names = {}
    exec("def twice(values):\n    return values * 2", names)  # from no file: nothing to keep it beside
    twice = compiled("int64[::1](int64[::1])")(names["twice"])
    assert twice(np.arange(3)).tolist() == [0, 2, 4]
    assert twice.stats.cache_path is None


def test_what_can_be_kept_is():
    from streams.core.best import take_best

    assert take_best.stats.cache_path


@pytest.fixture
def kept(tmp_path, monkeypatch):
    (tmp_path / "kept.py").write_text(
        "from streams.core.compiled import compiled\n\n"
        "@compiled('int64(int64)')\ndef twice(value):\n    return value * 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def load():
        monkeypatch.delitem(sys.modules, "kept", raising=False)
        return importlib.import_module("kept").twice

    yield load
    monkeypatch.delitem(sys.modules, "kept", raising=False)


@pytest.mark.parametrize("name", ["*.nbi", "*.nbc"])
def test_kept_code_that_is_damaged_is_compiled_anew(kept, tmp_path, name):
    assert kept()(3) == 6
    assert sum(kept().stats.cache_hits.values()) == 1
    (damaged,) = tmp_path.rglob(name)
    damaged.write_bytes(b"")  # as after a power cut
    assert kept()(3) == 6


@pytest.mark.parametrize("path", COMPILING, ids=lambda path: path.stem)
def test_what_is_compiled_holds_no_number_of_another_file(path):
    imported = {
        name.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("streams")
        for name in node.names
    }
    assert imported <= {"compiled", "part", "Floats"}  # kept code is not found out when another file changes


def test_words_are_mixed_as_by_numpy():
    words = draws(np.arange(5, dtype=np.uint64), 20).ravel()
    assert [_mix(word) for word in words] == mix64(words).tolist()
