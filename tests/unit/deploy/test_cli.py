import json

import pytest
from typer.testing import CliRunner

from deploy import broker, cli
from deploy.broker import BrokerStatus
from deploy.cli import broker_app, topics_app
from deploy.store import BrokerError


def invoke(app, *arguments, **env):
    return CliRunner().invoke(app, list(arguments), env={f"FRESHLOOP_{name.upper()}": v for name, v in env.items()})


@pytest.mark.parametrize(
    ("app", "command"),
    [
        *((broker_app, name) for name in ("up", "run", "down", "status", "wipe")),
        (topics_app, "create"),
        (topics_app, "check"),
    ],
)
def test_every_command_has_help(app, command):
    result = invoke(app, command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize(("app", "command"), [(broker_app, "up"), (broker_app, "status"), (topics_app, "check")])
def test_a_bad_setting_is_one_line_and_exit_code_2(app, command):
    result = invoke(app, command, broker_port="http")
    assert result.exit_code == 2
    assert result.stderr.startswith("freshloop: setting broker_port (FRESHLOOP_BROKER_PORT)")
    assert result.stderr.count("\n") == 1


def test_up_tells_errors_in_one_line(monkeypatch):
    def refuse(settings, say):
        raise BrokerError("no room")

    monkeypatch.setattr(broker, "up", refuse)
    result = invoke(broker_app, "up")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "freshloop: no room\n")


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_ctrl_c_is_not_a_stack_trace(command, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(broker, command, interrupted)
    result = invoke(broker_app, command)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("embedded", "running", "answers", "code", "text"),
    [
        (True, True, True, 0, "answers at 127.0.0.1:1 (process 7"),
        (True, True, False, 3, "does not answer (yet)"),
        (True, False, False, 3, "start it with 'freshloop broker up'"),
        (False, True, True, 0, "(FRESHLOOP_BROKERS) answers"),
        (False, False, False, 3, "(FRESHLOOP_BROKERS) does not answer"),
    ],
)
def test_status_in_words_json_and_exit_code(embedded, running, answers, code, text, monkeypatch):
    found = BrokerStatus(embedded, running, answers, "127.0.0.1:1", 7, "/d", "id")
    monkeypatch.setattr(broker, "status", lambda settings: found)
    words, machine = invoke(broker_app, "status"), invoke(broker_app, "status", "--json")
    assert (words.exit_code, machine.exit_code) == (code, code)
    assert text in words.stdout
    assert json.loads(machine.stdout)["answers"] is answers


def test_topics_check_lists_problems_and_fails(monkeypatch):
    monkeypatch.setattr(cli, "check_topics", lambda settings: ["topic a is missing", "topic b is missing"])
    words, machine = invoke(topics_app, "check"), invoke(topics_app, "check", "--json")
    assert (words.exit_code, words.stdout) == (1, "topic a is missing\ntopic b is missing\n")
    assert json.loads(machine.stdout) == {"problems": ["topic a is missing", "topic b is missing"]}


def test_topics_create_says_what_it_did(monkeypatch):
    monkeypatch.setattr(cli, "create_topics", lambda settings, mend: ["created a"] if mend else [])
    assert invoke(topics_app, "create").stdout == "every topic is there\n"
    assert json.loads(invoke(topics_app, "create", "--mend", "--json").stdout) == {"done": ["created a"]}
