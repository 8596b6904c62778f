"""A list of numbers that is none is one sentence, before anything starts."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from benchmarks.cli import bench_app


@pytest.mark.parametrize(
    "arguments",
    [
        ["latency", "--partitions", "a"],
        ["latency", "--partitions", "1,"],
        ["latency", "--shares", "nan"],
        ["pool", "--sizes", "0"],
        ["workers", "--counts", "1;2"],
        ["freshness", "--seeds", "-1"],
    ],
)
def test_a_list_that_is_none_is_named(arguments):
    result = CliRunner().invoke(bench_app, arguments)
    assert result.exit_code == 2
    assert arguments[1] in result.output
    assert "no list of numbers" in result.output.replace("\n", " ")
