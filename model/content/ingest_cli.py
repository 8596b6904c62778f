"""The command `freshloop ingest`."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry, ProcessCollector

from model.content.chosen import content_model
from model.content.ingest import Ingest, Vectoriser
from model.content.ingest_metrics import IngestMetrics
from model.content.todo import Todo
from model.content.weights import DEFAULT
from streams.admin import require_topics
from streams.clock import Clock
from streams.config import ConfigError, load_settings
from streams.processes import ProgressLine, Stop, log_to_stderr, serve_metrics
from streams.security import refusal

NICENESS = 5  # users' events go first where they share a machine
METRICS_OFFSET = 60  # from the first metrics port
log = logging.getLogger("freshloop.ingest")


def ingest(
    part: Annotated[str, typer.Option(help="I/N: this process is the I-th of N that share the videos.")] = "1/1",
    weights: Annotated[
        Path, typer.Option(help="The content weights; their manifest lies beside them.", show_default=False)
    ] = DEFAULT,
    metrics_port: Annotated[int, typer.Option(help="Port for Prometheus; 0 takes metrics_port + 60.")] = 0,
    loglevel: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Make content vectors of published videos: read their media, decode, embed, publish. Ends with Ctrl-C or SIGTERM.

    Newly published videos go first; then those that an earlier run or another content model left. The same media twice
    is decoded once. Media that cannot be used leaves a dead letter with the reason, and the vectors that there are.
    """
    log_to_stderr(loglevel)
    settings, mine = load_settings(), parse_part(part)
    require_topics(settings)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    port = metrics_port or settings.metrics_port + METRICS_OFFSET + mine[0]
    serve_metrics(settings, port, registry)
    os.nice(NICENESS)
    stop, clock = Stop(), Clock()
    line = ProgressLine(log.info, clock)
    try:
        with content_model(settings, weights) as (encoder, decoder, version):
            todo = Todo(version)
            vectorise = Vectoriser(encoder, decoder, version, todo.cache)
            made = Ingest(
                settings, vectorise, todo, IngestMetrics(registry), clock, mine, lambda found: line(one_line(found))
            )
            with closing(made):
                made.run(stop)
    except KafkaError as error:
        if said := refusal(settings, error):
            raise ConfigError(said) from None
        log.error("Kafka failed, so ingest ends, and goes on with what is missing when it is started: %s", error)
        raise typer.Exit(1) from None
    finally:
        line.end()


def one_line(found: dict[str, int]) -> str:
    """Return what was done and what waits in one line."""
    return "freshloop: " + ", ".join(f"{count} {name}" for name, count in found.items())


def parse_part(text: str) -> tuple[int, int]:
    """Return which part this is, from 0, and of how many.

    Raises:
      ConfigError: it is not I/N with I from 1 to N.
    """
    which, _, of = text.partition("/")
    if not (which.isdecimal() and of.isdecimal() and 1 <= int(which) <= int(of)):
        raise ConfigError(f"--part {text} is not I/N with I from 1 to N")
    return int(which) - 1, int(of)
