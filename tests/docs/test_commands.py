"""Every command has help, an example that parses, and a place in the documentation."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.command_examples import EXAMPLES, add_examples
from streams.main import app
from tests.docs.commands import commands

ROOT = Path(__file__).parents[2]
COMMANDS = dict(commands())


def written():
    """Return the text of every page that a person wrote."""
    return "\n".join(page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


def test_examples_are_of_commands_that_there_are():
    assert not set(EXAMPLES) - set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_help_says_what_it_does_and_shows_an_example(path):
    result = CliRunner().invoke(app, [*path.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    text = re.sub(r"\s+", " ", result.stdout)
    assert (COMMANDS[path].help or "").strip(), f"'freshloop {path}' has no docstring"
    assert path in EXAMPLES, f"give 'freshloop {path}' an example in streams/command_examples.py"
    for example in EXAMPLES[path]:
        assert example in text


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_has_help(path):
    silent = [one.name for one in COMMANDS[path].params if not getattr(one, "help", None) and one.name != "version"]
    assert not silent, f"'freshloop {path}': no help for {silent}"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_is_in_a_page(path):
    assert re.search(rf"freshloop {path}\b", written()), (
        f"no page in docs/ and no line of README has 'freshloop {path}'"
    )


@pytest.mark.parametrize(("path", "example"), [(path, one) for path, lines in EXAMPLES.items() for one in lines])
def test_every_example_parses(path, example):
    words = shlex.split(example)
    while "=" in words[0]:
        assert words.pop(0).startswith("FRESHLOOP_")
    assert words[: 1 + len(path.split())] == ["freshloop", *path.split()]
    COMMANDS[path].make_context(path, words[1 + len(path.split()) :])  # raises when an option is unknown or missing


def test_a_command_without_example_is_left_alone():
    import typer

    bare = typer.Typer()
    bare.command("bare")(lambda: None)
    add_examples(bare)
    assert bare.registered_commands[0].epilog is None


def test_the_shell_can_complete_commands_and_options():
    env = {"_FRESHLOOP_COMPLETE": "complete_bash", "COMP_WORDS": "freshloop mod", "COMP_CWORD": "1"}
    assert CliRunner().invoke(app, [], env=env, prog_name="freshloop").stdout.split() == ["models"]
    env = {"_FRESHLOOP_COMPLETE": "complete_bash", "COMP_WORDS": "freshloop worker --na", "COMP_CWORD": "2"}
    assert "--name" in CliRunner().invoke(app, [], env=env, prog_name="freshloop").stdout
