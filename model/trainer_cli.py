"""The command `freshloop trainer`, and what it puts together."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from streams.admin import require_topics
from streams.clock import Clock
from streams.config import ConfigError, Settings, load_settings
from streams.processes import Stop, log_to_stderr, serve_metrics
from streams.security import refusal

if TYPE_CHECKING:
    from model.group import Group
    from model.net_options import NetOptions
    from model.trainer import Trainer
    from model.trainer_metrics import TrainerMetrics

NICENESS = 5  # serving goes first where the two share a machine
METRICS_OFFSET = 50  # from the first metrics port, so that a few workers fit in between
log = logging.getLogger("freshloop.trainer")


def trainer(
    metrics_port: Annotated[int, typer.Option(help="Port for Prometheus; 0 takes metrics_port + 50.")] = 0,
    loglevel: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    index: Annotated[int, typer.Option(min=0, help="Which of FRESHLOOP_TRAINERS this is; 0 is the chief.")] = 0,
) -> None:
    """Learn from feedback while the model serves: fine-tune, judge, publish versions. One for each model name.

    Several processes learn as one where FRESHLOOP_TRAINERS names them.
    """
    log_to_stderr(loglevel)
    settings = load_settings()
    if index >= max(1, len(addresses(settings.trainers))):
        raise ConfigError(f"--index {index} is beyond the processes that FRESHLOOP_TRAINERS names, counted from 0")
    run_trainer(settings, metrics_port or settings.metrics_port + METRICS_OFFSET + index, index)


def run_trainer(settings: Settings, metrics_port: int, index: int = 0) -> None:
    """Run the trainer, or one process of it, until SIGTERM or Ctrl-C.

    Raises:
      ConfigError: the topics do not fit, the broker does not answer, or the metrics port is taken.
      typer.Exit: Kafka failed for so long that going on is no use; exit code 1.
    """
    require_topics(settings)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    stop = Stop()
    group = _started(settings, index)
    stop.listen()  # TensorFlow takes SIGTERM for itself where several processes are joined
    from model.trainer_metrics import TrainerMetrics

    metrics = TrainerMetrics(registry)
    serve_metrics(settings, metrics_port, registry)
    try:
        with built_trainer(settings, metrics, group) as one, _together():
            one.run(stop)
    except KafkaError as error:
        if said := refusal(settings, error):
            raise ConfigError(said) from None
        log.error(
            "Kafka failed, so the trainer ends, and goes on from the version in service when it is started: %s", error
        )
        raise typer.Exit(1) from None
    log.info("stopped")


def _started(settings: Settings, index: int) -> Group | None:
    """Start TensorFlow; return the group that this process is one of, once all are there; None where it is all."""
    found: list[Group] = []

    def join() -> None:
        from model.group import Group

        log.info("waiting for the other trainer processes: %s", settings.trainers)
        found.append(Group(addresses(settings.trainers), index))

    quiet_tensorflow(threads=1, niceness=NICENESS, first=join if addresses(settings.trainers) else None)
    return found[0] if found else None


def addresses(trainers: str) -> list[str]:
    """Return the addresses in the setting `trainers`; none where one process is all."""
    return [one.strip() for one in trainers.split(",") if one.strip()]


@contextmanager
def _together() -> Iterator[None]:
    """End with exit code 1 when another process of the group is gone."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        log.error("another trainer process does not answer, so this one ends too: %s", str(error).splitlines()[0])
        raise typer.Exit(1) from None


@contextmanager
def built_trainer(settings: Settings, metrics: TrainerMetrics, group: Group | None = None) -> Iterator[Trainer]:
    """Put a trainer together, connected; it disconnects at the end. Imports TensorFlow.

    Args:
      group: that it is one process of.
    """
    from model.assistant import Assistant
    from model.batches import BatchShape
    from model.catalogue import Catalogue
    from model.config import model_config
    from model.examples import Examples, Limits
    from model.intake import Intake
    from model.joint import JointNet
    from model.nets import Net
    from model.outbox import Outbox
    from model.registry import Registry
    from model.signature import signing_key
    from model.team import Alone, Team
    from model.train import Learner, RoundOptions
    from model.trainer import Trainer

    config, shape = model_config(settings), BatchShape.remembering(settings.recent_events)
    team, options_of_net = Team(group) if group else Alone(), net_options(settings)
    if group:
        net: Net = JointNet(config, shape, options_of_net, group, settings.model_seed)
    else:
        net = Net(config, shape, options_of_net, settings.model_seed)
    options = RoundOptions(
        passes=settings.train_passes,
        replay=settings.replay,
        held_back=settings.held_back,
        margin=settings.gate_margin,
        form=settings.serving_form,
    ).of_each(team.count)
    store = Examples(Catalogue(settings.text_rows), Limits.remembering(shape.steps))
    learner = Learner(net, store, shape, options, settings.model_seed + team.index)
    registry = Registry(settings.model_name, config, settings.frozen_after, key=signing_key(settings))
    intake = Intake(settings, team.count, team.index)
    try:
        outbox = Outbox(settings, team.index)
        try:
            kind = Assistant if team.index else Trainer
            yield kind(settings, config, learner, registry, intake, outbox, metrics, Clock(), team)
        finally:
            outbox.close()
    finally:
        intake.close()


def net_options(settings: Settings) -> NetOptions:
    """Return how the net learns.

    Raises:
      ConfigError: noise is asked for, and the accountant is not installed.
    """
    from model.net_options import NetOptions

    if settings.noise and find_spec("dp_accounting") is None:
        raise ConfigError("FRESHLOOP_NOISE needs the accountant: install freshloop[privacy]")
    return NetOptions(
        rate=settings.learning_rate,
        user_clip=settings.user_clip,
        noise=settings.noise,
        standardise=settings.standardise,
        read=settings.text_rows,
    )


def quiet_tensorflow(threads: int | None = None, niceness: int = 0, first: Callable[[], None] | None = None) -> None:
    """Import TensorFlow without its greetings on stderr.

    Args:
      threads: that it may compute on; None leaves them as they are.
      niceness: given to this thread and those threads, once the import is over.
      first: called before TensorFlow's first operation.
    """
    os.putenv("TF_CPP_MIN_LOG_LEVEL", "3")
    with _stderr_closed():
        import tensorflow as tf

        if threads is not None:  # can only be said before TensorFlow's first operation
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        os.nice(niceness)
        if first is not None:
            first()
        tf.constant(0.0)  # its threads begin now


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Send what native code writes to stderr nowhere."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
