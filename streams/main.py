"""The console script `freshloop`: mounts the commands of every part. As the composition root it may import them all."""

from __future__ import annotations

import streams.arithmetic  # noqa: F401  before NumPy loads

# isort: split
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.cli import bench_app
from deploy.cli import broker_app, topics_app
from deploy.console.cli import console as console_command
from deploy.demo_cli import demo
from deploy.demo_home import demo_cluster
from deploy.doctor_cli import doctor
from deploy.workers import running_workers
from model.cli import models_app
from model.content.cli import content_commands, embed
from model.content.ingest_cli import ingest
from model.evaluate_cli import evaluate
from model.experiment_cli import experiment
from model.report_cli import report_command
from model.trainer_cli import trainer
from producers.clip_files import render
from producers.collect_cli import collect
from producers.replay_cli import replay_command
from producers.simulate_cli import simulate
from streams.backup_cli import backup_app
from streams.command_examples import add_examples
from streams.config import ConfigError, Settings, load_settings
from streams.forget.cli import consent, forget
from streams.letters_cli import letters_app
from streams.schemas import TopicRecord, topic_records
from streams.topics import Topics

app = typer.Typer(
    name="freshloop",
    help="A real-time recommender for short feeds: events in, slates out, a model that learns while it serves.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench_app, name="bench")
app.add_typer(broker_app, name="broker")
app.add_typer(topics_app, name="topics")
app.add_typer(models_app, name="models")
app.add_typer(backup_app, name="backup")
app.add_typer(letters_app, name="dead-letters")
app.command()(demo)
app.command()(doctor)
app.command("console")(console_command)
app.command()(evaluate)
app.command()(experiment)
app.command("replay")(replay_command(running_workers))
app.command("simulate")(simulate)
app.command("collect")(collect)
app.command()(trainer)
app.command()(ingest)
app.command()(forget)
app.command()(consent)
app.command("report")(report_command(demo_cluster))

app.command("embed")(embed)
app.add_typer(content_commands(render), name="content")


@app.command()
def worker(
    name: Annotated[str, typer.Option(help="Name of this worker on this machine; its states live under it.")] = "w1",
    metrics_port: Annotated[int, typer.Option(help="Port for Prometheus; 0 takes the setting.")] = 0,
    http_port: Annotated[int | None, typer.Option(help="Port of the API; 0 for no API. [default: setting]")] = None,
    loglevel: Annotated[str, typer.Option(help="debug, info, warn or error.")] = "info",
) -> None:
    """Run one stream worker. Start several with different names to share the partitions."""
    from streams.run import run_worker

    settings = load_settings()
    api = settings.http_port if http_port is None else http_port
    run_worker(settings, name, metrics_port or settings.metrics_port, loglevel, api)


@app.command()
def tail(
    user: Annotated[str | None, typer.Option(help="Only this user's slates.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    limit: Annotated[int, typer.Option(help="Stop after so many slates; 0 goes on.")] = 0,
    from_start: Annotated[bool, typer.Option(help="Begin with the oldest slate that is kept.")] = False,
) -> None:
    """Show live slates."""
    from streams.admin import require_topics
    from streams.tail import as_json, as_text, slates

    settings = load_settings()
    require_topics(settings)
    console = Console(highlight=False)
    marks: dict[str, str] = {}
    for count, slate in enumerate(slates(settings, user, from_start, None if json else marks), start=1):
        if json:
            print(as_json(slate), flush=True)
        else:
            console.print(as_text(slate, marks=marks))
        if count == limit:
            break


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    api: Annotated[str, typer.Option(help="URL of a worker's API. [default: the first one on this machine]")] = "",
    top: Annotated[int, typer.Option(min=1, help="So many positions of the slate.")] = 8,
    json: Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")] = False,
) -> None:
    """Say what a user's state rests on, and why each video of the last slate is there.

    Any worker's API will do: it asks the owner of the user's state. Effects are in logits.
    """
    from json import dumps

    from streams.explain_view import as_text
    from streams.http.client import ApiClient

    with ApiClient(load_settings(), api) as client:
        found = client.explanation(user)
    if json:
        print(dumps(found))
    else:
        Console(highlight=False).print(as_text(found, top))


@app.command()
def schemas(
    topic: Annotated[str, typer.Argument(help="Only this topic. [default: all]")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for a .schema.json and a .example.json of each.")] = None,
) -> None:
    """Print the JSON Schema and examples of every topic's records, made from the structs that the code uses.

    One JSON object: by topic, and by struct where a topic has several, its key, schema and examples.
    """
    from json import dumps

    found = {one.name: one for one in all_records(load_settings()) if topic in ("", one.topic)}
    if not found:
        raise ConfigError(f"there is no topic {topic}; 'freshloop schemas' lists them all")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for name, one in found.items():
        if out is not None and one.type is not None:
            (out / f"{name}.schema.json").write_text(dumps(one.schema(), indent=2) + "\n", "utf-8")
            (out / f"{name}.example.json").write_text(dumps(one.examples_as_json(), indent=2) + "\n", "utf-8")
    described = {
        name: {"key": one.key, "note": one.note, "schema": one.schema(), "examples": one.examples_as_json()}
        for name, one in found.items()
    }
    print(dumps(described, indent=2))


def all_records(settings: Settings) -> list[TopicRecord]:
    """Return the records of every topic, whichever part writes them."""
    from model.config import ModelConfig
    from model.manifest import Current, Manifest
    from streams.http.directory import Announcement

    topics, name = Topics(settings), settings.model_name
    manifest = Manifest(
        name=name, version=3, parent=2, config=ModelConfig(), trained_through=20_000, created_ms=1_795_536_000_000
    )
    announcement = Announcement(partition=0, worker="w1", url="http://127.0.0.1:19080", at_ms=1_795_536_000_000)
    return topic_records(
        topics,
        [
            TopicRecord(topics.models, f"`{name}/VERSION/chunk/I`", None, "A piece of the weights (safetensors)."),
            TopicRecord(topics.models, f"`{name}/VERSION/manifest`", Manifest, "A version.", (manifest,)),
            TopicRecord(
                topics.models, f"`{name}/current`", Current, "Which version serves.", (Current(epoch=4, version=3),)
            ),
            TopicRecord(topics.workers, "the partition", Announcement, "Who answers for a partition.", (announcement,)),
        ],
    )


add_examples(app)


def main() -> None:
    """Run the command line; a user's mistake is one sentence on stderr and exit code 2."""
    try:
        app()
    except ConfigError as error:
        print(f"freshloop: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
