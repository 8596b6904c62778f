"""The core's imports, by an allow list: import-linter can only forbid what it is told of."""

import ast
import sys
from pathlib import Path

import pytest

import streams.core

CORE = Path(streams.core.__file__).parent
ALLOWED = {"numpy", "msgspec", "streams.core"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_the_core_imports_nothing_but_the_standard_library_numpy_and_msgspec(path):
    allowed = ALLOWED | {"numba"} if path.stem == "compiled" else ALLOWED  # one module compiles for all others

    def fits(name):
        return name.split(".")[0] in sys.stdlib_module_names or any(
            name == one or name.startswith(f"{one}.") for one in allowed
        )

    assert [name for name in imported(path) if not fits(name)] == []
