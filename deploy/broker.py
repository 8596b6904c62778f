"""The embedded broker: a real single-node Apache Kafka on this machine, without containers or a system Java.

The JRE is a wheel, Kafka's jars come by coordinate. One folder holds one broker; a record of the process, with its
creation time, makes `up` idempotent and `down` safe.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from deploy import java, secured, store
from deploy.jars import Say, classpath
from deploy.rights import give, rights
from deploy.store import BrokerError, Layout
from streams.admin import answering_cluster, create_topics
from streams.config import Settings

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
LOG_BYTES = 10 << 20  # beyond this Kafka's log is put aside at the next start


@dataclass(frozen=True)
class BrokerStatus:
    """How the broker is. `embedded` is false when the settings name another cluster; then `pid` is None.

    `running` tells of the process, `answers` of its metadata; for another cluster both tell whether it answers.
    """

    embedded: bool
    running: bool
    answers: bool
    bootstrap: str
    pid: int | None
    data_dir: str
    cluster_id: str | None


def up(settings: Settings, say: Say = lambda _: None) -> BrokerStatus:
    """Start the broker detached, and return when a client gets its metadata; nothing happens when it runs already.

    Args:
      say: gets a sentence about what takes long or was mended.
    Raises:
      BrokerError, JarError: it cannot start; one sentence that says what to do.
    """
    if settings.brokers:
        say(f"FRESHLOOP_BROKERS names {settings.brokers}, so no embedded broker is started")
        return status(settings)
    layout = Layout.of(settings)
    store.prepare_folder(layout)
    with _locked(layout):
        if store.running_process(layout) is None:
            _start(settings, layout, say)
    return _await(settings, layout)


def run(settings: Settings, say: Say = lambda _: None) -> NoReturn:
    """Become the broker, in the foreground: this process turns into Java, so signals reach it and its output is seen.

    Raises:
      BrokerError, JarError: it cannot start, runs already, or the settings name another cluster.
    """
    if settings.brokers:
        raise BrokerError("FRESHLOOP_BROKERS names another cluster; unset it to run the embedded broker")
    layout = Layout.of(settings)
    store.prepare_folder(layout)
    with _locked(layout):
        process = store.running_process(layout)
        if process is not None:
            raise BrokerError(f"the broker of {layout.root} runs already as process {process.pid}")
        jars = _prepare(settings, layout, say)
        store.record_process(layout, os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    command = java.command(settings, jars, "kafka.Kafka", str(layout.properties))
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise java.not_there(error) from None


def down(settings: Settings, say: Say = lambda _: None) -> bool:
    """Stop the broker and return True, or False when none runs.

    Raises:
      BrokerError: the process belongs to another user.
    """
    layout = Layout.of(settings)
    process = store.running_process(layout)
    if process is None:
        return False
    try:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except psutil.TimeoutExpired:
            say(f"the broker did not stop within {STOP_TIMEOUT_S:.0f} s and was killed; its data are kept")
            process.kill()
            process.wait(STOP_TIMEOUT_S)
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise BrokerError(f"process {process.pid} cannot be stopped: it belongs to another user") from None
    layout.pid.unlink(missing_ok=True)
    return True


def status(settings: Settings) -> BrokerStatus:
    """Look at the broker; nothing is changed."""
    layout = Layout.of(settings)
    answering = answering_cluster(_reaching(settings, layout))
    if settings.brokers:
        there = answering is not None
        return BrokerStatus(False, there, there, settings.bootstrap, None, str(layout.root), answering)
    process = store.running_process(layout)
    ours = store.cluster_id(layout) if layout.mark.exists() else None
    answers = process is not None and answering is not None and answering == ours
    pid = process.pid if process else None
    return BrokerStatus(True, process is not None, answers, settings.bootstrap, pid, str(layout.root), ours)


def wipe(settings: Settings) -> bool:
    """Remove the broker's folder with all topics in it; return False when there was none.

    Raises:
      BrokerError: the broker runs, or the folder is not ours.
    """
    layout = Layout.of(settings)
    if not layout.root.exists():
        return False
    if not layout.mark.exists():
        store.cluster_id(layout)  # refuses what is not ours
    with _locked(layout):
        if store.running_process(layout) is not None:
            raise BrokerError("the broker runs; stop it with 'freshloop broker down' first")
        shutil.rmtree(layout.root)
    return True


def _reaching(settings: Settings, layout: Layout) -> Settings:
    """Return the settings with which this machine's own broker is reached by whoever may read its folder."""
    if settings.brokers or not settings.broker_secured or settings.kafka_user:
        return settings
    path = secured.folder(layout) / f"{secured.ADMIN}.password"
    return secured.as_user(settings, layout, secured.ADMIN) if path.exists() else settings


def users(settings: Settings) -> dict[str, str]:
    """Make the users of the parts on the secured embedded broker; return the files of their passwords.

    Raises:
      BrokerError: it is not secured; ConfigError: it does not answer.
    """
    layout = Layout.of(settings)
    if settings.brokers or not settings.broker_secured:
        raise BrokerError("users are made on the embedded broker when FRESHLOOP_BROKER_SECURED is true")
    admin = secured.as_user(settings, layout, secured.ADMIN)
    create_topics(admin)
    names = rights(settings)
    give(admin, {user: secured.password(layout, user) for user in names})
    return {user: str(secured.folder(layout) / f"{user}.password") for user in names}


def _start(settings: Settings, layout: Layout, say: Say) -> None:
    """Start Java detached and write down its process."""
    jars = _prepare(settings, layout, say)
    if layout.log.exists() and layout.log.stat().st_size > LOG_BYTES:
        os.replace(layout.log, layout.log.with_suffix(".log.1"))
    command = java.command(settings, jars, "kafka.Kafka", str(layout.properties))
    with layout.log.open("ab") as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise java.not_there(error) from None
    store.record_process(layout, process.pid)
    _wait_ready(settings, layout, process, jars)
    process.returncode = 0  # it outlives us: Popen shall not warn that nobody waited for it


def _wait_ready(settings: Settings, layout: Layout, process: subprocess.Popen[bytes], jars: list[Path]) -> None:
    ours = store.cluster_id(layout)
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while answering_cluster(_reaching(settings, layout)) != ours:
            if process.poll() is not None:
                raise BrokerError(java.why(layout.log, jars, process.returncode))
            if time.monotonic() > deadline:
                raise BrokerError(f"the broker does not answer after {START_TIMEOUT_S:.0f} s; see {layout.log}")
            time.sleep(0.05)
    except BaseException:  # Ctrl-C included: no broker is left behind that nobody knows of
        if process.poll() is None:
            process.kill()
            process.wait()
        layout.pid.unlink(missing_ok=True)
        raise


def _await(settings: Settings, layout: Layout) -> BrokerStatus:
    """Wait for a broker that another command started."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (found := status(settings)).answers:
        if not found.running:
            raise BrokerError(f"the broker stopped while it started; see {layout.log}")
        if time.monotonic() > deadline:
            raise BrokerError(
                f"the broker runs as process {found.pid} but does not answer at {settings.bootstrap}; "
                "restart it with 'freshloop broker down' and 'freshloop broker up'"
            )
        time.sleep(0.2)
    return found


def _prepare(settings: Settings, layout: Layout, say: Say) -> list[Path]:
    """Check everything, write the properties, format a new folder, and return the jars."""
    known = store.cluster_id(layout)
    for name, port in (("BROKER_PORT", settings.broker_port), ("CONTROLLER_PORT", settings.controller_port)):
        require_free(name, port)
    jars = classpath(say)
    if settings.broker_secured:
        secured.prepare(layout, formatted=known is not None)
    store.write_properties(layout, settings, secured.properties(layout, settings) if settings.broker_secured else None)
    if known is None:
        if layout.mark.exists():
            say("formatting had been cut short and is done again")
        store.format_store(layout, lambda identity: _format(settings, layout, jars, identity))
    return jars


def require_free(name: str, port: int) -> None:
    """Return when nothing listens on `port` of 127.0.0.1.

    Raises:
      BrokerError: it is taken; the message names the setting FRESHLOOP_<name>.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise BrokerError(f"port {port} needs more rights; set FRESHLOOP_{name} above 1023") from None
        except OSError:
            raise BrokerError(f"port {port} is taken; stop what listens there or set FRESHLOOP_{name}") from None


def _format(settings: Settings, layout: Layout, jars: list[Path], identity: str) -> None:
    command = java.command(
        settings,
        jars,
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={identity}",
        "-c",
        str(layout.properties),
        *(secured.format_options(layout) if settings.broker_secured else ()),
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise java.not_there(error) from None
    if done.returncode:
        layout.log.write_text(done.stdout + done.stderr, "utf-8")
        raise BrokerError(java.why(layout.log, jars, done.returncode))


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """One command at a time starts or wipes a broker; the lock is beside the folder, which may be removed."""
    with layout.root.with_name("broker.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
