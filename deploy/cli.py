"""The commands `freshloop broker` and `freshloop topics`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from deploy import broker
from deploy.jars import KAFKA
from streams.admin import check_topics, create_topics
from streams.config import ConfigError, load_settings

NOT_RUNNING = 3  # exit code of `status`, as of an init script
UNFIT = 1  # exit code of `topics check` with problems

broker_app = typer.Typer(
    no_args_is_help=True, help="The Kafka broker that Freshloop brings along (one node, 127.0.0.1)."
)
topics_app = typer.Typer(no_args_is_help=True, help="The topics on the Kafka cluster in use.")

Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn a user's mistake into one line on stderr and exit code 2; Ctrl-C into exit code 130."""
    try:
        yield
    except ConfigError as error:
        typer.echo(f"freshloop: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _say(text: str) -> None:
    print(f"freshloop: {text}", file=sys.stderr, flush=True)


@broker_app.command("up")
def up(as_json: Json = False) -> None:
    """Start the broker in the background and wait until it answers; does nothing when it runs already."""
    with _one_line():
        settings = load_settings()
        found = broker.up(settings, _say)
        if as_json:
            print(json.dumps(asdict(found)))
        elif found.embedded:
            print(f"Kafka {KAFKA} answers at {found.bootstrap} (process {found.pid}, data in {found.data_dir})")


@broker_app.command("run")
def run() -> None:
    """Run the broker in the foreground, for a supervisor; Ctrl-C or SIGTERM stops it."""
    with _one_line():
        settings = load_settings()
        _say(f"Kafka {KAFKA} starts on {settings.bootstrap}; Ctrl-C stops it")
        broker.run(settings, _say)


@broker_app.command("down")
def down(as_json: Json = False) -> None:
    """Stop the broker; its topics are kept."""
    with _one_line():
        stopped = broker.down(load_settings(), _say)
        print(json.dumps({"stopped": stopped}) if as_json else "stopped" if stopped else "no broker runs")


@broker_app.command("status")
def status(as_json: Json = False) -> None:
    """Say how the broker is. Exit code 0: it answers; 3: it does not."""
    with _one_line():
        found = broker.status(load_settings())
        print(json.dumps(asdict(found)) if as_json else _describe(found))
        if not found.answers:
            raise typer.Exit(NOT_RUNNING)


@broker_app.command("users")
def users(as_json: Json = False) -> None:
    """Make a user for each kind of part on the secured broker, with the rights it needs; say where passwords are."""
    with _one_line():
        made = broker.users(load_settings())
        if as_json:
            print(json.dumps(made))
        else:
            print("\n".join(f"{user}: password in {path}" for user, path in made.items()))


def _describe(found: broker.BrokerStatus) -> str:
    if not found.embedded:
        how = "answers" if found.answers else "does not answer"
        return f"the cluster at {found.bootstrap} (FRESHLOOP_BROKERS) {how}"
    if not found.running:
        return f"no broker runs for {found.data_dir}; start it with 'freshloop broker up'"
    how = "answers at" if found.answers else "does not answer (yet) at"
    return f"Kafka {KAFKA} {how} {found.bootstrap} (process {found.pid}, data in {found.data_dir})"


@broker_app.command("wipe")
def wipe(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, as_json: Json = False) -> None:
    """Remove the broker's data, all topics included; refused while it runs."""
    with _one_line():
        settings = load_settings()
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigError("'freshloop broker wipe' removes every topic and cannot ask here; say --yes")
            typer.confirm(f"Remove every topic in {settings.data_dir / 'broker'}?", abort=True)
        wiped = broker.wipe(settings)
        print(json.dumps({"wiped": wiped}) if as_json else "removed" if wiped else "there was nothing to remove")


@topics_app.command("create")
def create(
    mend: Annotated[bool, typer.Option("--mend", help="Also mend settings of topics that exist.")] = False,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing; those that fit are left alone."""
    with _one_line():
        done = create_topics(load_settings(), mend)
        if as_json:
            print(json.dumps({"done": done}))
        else:
            print("\n".join(done) or "every topic is there")


@topics_app.command("check")
def check(as_json: Json = False) -> None:
    """Say what is wrong with the topics. Exit code 0: they fit; 1: they do not."""
    with _one_line():
        problems = check_topics(load_settings())
        print(json.dumps({"problems": problems}) if as_json else "\n".join(problems) or "every topic fits")
        if problems:
            raise typer.Exit(UNFIT)
