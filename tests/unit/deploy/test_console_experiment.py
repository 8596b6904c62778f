import asyncio
import json
import sys

import pytest

from deploy.console import experiment
from deploy.console.experiment import cells_of, look

FOUND = {
    "arms": {
        "online": {"users": 1200, "labels": 9, "mean_label": 0.31},
        "frozen": {"users": 3, "labels": 4, "mean_label": 0.2},
    },
    "differences": {"frozen": {"value": -0.11, "low": -0.2, "high": -0.01, "settled": True}},
}


def run(program):
    return asyncio.run(look((sys.executable, "-c", program)))


def test_the_last_line_is_the_result():
    assert run(f"print('progress'); print({json.dumps(json.dumps(FOUND))})") == FOUND


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import sys; print('freshloop: there is no feedback', file=sys.stderr); sys.exit(2)", "there is no feedback"),
        ("import sys; sys.exit(3)", "it ended with code 3"),
    ],
)
def test_without_a_result_there_is_a_sentence(program, told):
    assert run(program) == told


def test_a_command_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(experiment, "TIMEOUT_S", 0.2)
    assert "within 0 seconds" in run("import time; time.sleep(60)")


def test_rows_say_what_is_settled():
    assert cells_of("online", FOUND) == ("online", "1,200", "9", "0.3100", "control", "", "")
    assert cells_of("frozen", FOUND)[4:] == ("-0.1100", "-0.2000 … -0.0100", "yes")
