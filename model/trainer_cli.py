"""The command `freshloop trainer`, and what it puts together."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
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
    from model.nets import NetOptions
    from model.trainer import Trainer
    from model.trainer_metrics import TrainerMetrics

NICENESS = 5  # serving goes first where the two share a machine
METRICS_OFFSET = 50  # from the first metrics port, so that a few workers fit in between
log = logging.getLogger("freshloop.trainer")


def trainer(
    metrics_port: Annotated[int, typer.Option(help="Port for Prometheus; 0 takes metrics_port + 50.")] = 0,
    loglevel: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Learn from feedback while the model serves: fine-tune, judge, publish versions. One for each model name."""
    log_to_stderr(loglevel)
    settings = load_settings()
    run_trainer(settings, metrics_port or settings.metrics_port + METRICS_OFFSET)


def run_trainer(settings: Settings, metrics_port: int) -> None:
    """Run the trainer until SIGTERM or Ctrl-C.

    Raises:
      ConfigError: the topics do not fit, the broker does not answer, or the metrics port is taken.
      typer.Exit: Kafka failed for so long that going on is no use; exit code 1.
    """
    require_topics(settings)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    stop = Stop()
    quiet_tensorflow(threads=1, niceness=NICENESS)
    from model.trainer_metrics import TrainerMetrics

    metrics = TrainerMetrics(registry)
    serve_metrics(settings, metrics_port, registry)
    try:
        with built_trainer(settings, metrics) as one:
            one.run(stop)
    except KafkaError as error:
        if said := refusal(settings, error):
            raise ConfigError(said) from None
        log.error(
            "Kafka failed, so the trainer ends, and goes on from the version in service when it is started: %s", error
        )
        raise typer.Exit(1) from None
    log.info("stopped")


@contextmanager
def built_trainer(settings: Settings, metrics: TrainerMetrics) -> Iterator[Trainer]:
    """Put a trainer together, connected; it disconnects at the end. Imports TensorFlow."""
    from model.batches import BatchShape
    from model.catalogue import Catalogue
    from model.config import model_config
    from model.examples import Examples, Limits
    from model.intake import Intake
    from model.nets import Net
    from model.outbox import Outbox
    from model.registry import Registry
    from model.signature import signing_key
    from model.train import Learner, RoundOptions
    from model.trainer import Trainer

    config, shape = model_config(settings), BatchShape()
    net = Net(config, shape, net_options(settings), settings.model_seed)
    options = RoundOptions(
        passes=settings.train_passes,
        replay=settings.replay,
        held_back=settings.held_back,
        margin=settings.gate_margin,
    )
    learner = Learner(net, Examples(Catalogue(), Limits()), shape, options, settings.model_seed)
    registry = Registry(settings.model_name, config, settings.frozen_after, key=signing_key(settings))
    intake = Intake(settings)
    try:
        outbox = Outbox(settings)
        try:
            yield Trainer(settings, config, learner, registry, intake, outbox, metrics, Clock())
        finally:
            outbox.close()
    finally:
        intake.close()


def net_options(settings: Settings) -> NetOptions:
    """Return how the net learns.

    Raises:
      ConfigError: noise is asked for, and the accountant is not installed.
    """
    from model.nets import NetOptions

    if settings.noise and find_spec("dp_accounting") is None:
        raise ConfigError("FRESHLOOP_NOISE needs the accountant: install freshloop[privacy]")
    return NetOptions(rate=settings.learning_rate, user_clip=settings.user_clip, noise=settings.noise)


def quiet_tensorflow(threads: int | None = None, niceness: int = 0) -> None:
    """Import TensorFlow without its greetings on stderr.

    Args:
      threads: that it may compute on; None leaves them as they are.
      niceness: given to this thread and those threads, once the import is over.
    """
    os.putenv("TF_CPP_MIN_LOG_LEVEL", "3")
    with _stderr_closed():
        import tensorflow as tf

        if threads is not None:  # can only be said before TensorFlow's first operation
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        os.nice(niceness)
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
