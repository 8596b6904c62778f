"""Three brokers on loopback that replicate each other: any one may be killed, and comes back."""

from __future__ import annotations

import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy import java, store
from deploy.jars import classpath
from streams.admin import admin_client
from streams.config import Settings
from tests.conftest import free_ports

NODES = (1, 2, 3)


class Cluster:
    """Three nodes, each broker and controller; replication 3, two in sync.

    Attributes:
      settings: reach all three.
    """

    def __init__(self, folder: Path, base: Settings) -> None:
        ports = free_ports(6)
        self._ports, self._controllers = (
            dict(zip(NODES, ports[:3], strict=True)),
            dict(zip(NODES, ports[3:], strict=True)),
        )
        servers = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        self.settings = base.model_copy(update={"brokers": servers, "replication": 3, "broker_heap": "256m"})
        self._folder, self._jars = folder, classpath(lambda _: None)
        self._identity = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def _prepare(self, node: int) -> Path:
        settings = self.settings.model_copy(
            update={"broker_port": self._ports[node], "controller_port": self._controllers[node]}
        )
        layout = store.Layout(self._folder / f"node{node}")
        layout.root.mkdir(parents=True)
        changes = {
            "node.id": str(node),
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in self._controllers.items()),
            "min.insync.replicas": "2",
            "default.replication.factor": "3",
            "offsets.topic.replication.factor": "3",
            "transaction.state.log.replication.factor": "3",
            "transaction.state.log.min.isr": "2",
            "share.coordinator.state.topic.replication.factor": "3",
            "replica.lag.time.max.ms": "3000",
            "controlled.shutdown.enable": "false",
        }
        lines = store.server_properties(layout, settings) | changes
        layout.properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        arguments = ("format", f"--cluster-id={self._identity}", "-c", str(layout.properties))
        subprocess.run(
            java.command(settings, self._jars, "kafka.tools.StorageTool", *arguments), check=True, capture_output=True
        )
        return layout.properties

    def start(self, node: int) -> None:
        """Start a node, without waiting for it."""
        properties = self._folder / f"node{node}" / "server.properties"
        if not properties.exists():
            self._prepare(node)
        with (self._folder / f"node{node}.log").open("ab") as log:
            self._running[node] = subprocess.Popen(
                java.command(self.settings, self._jars, "kafka.Kafka", str(properties)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def kill(self, node: int) -> None:
        """SIGKILL a node."""
        process = self._running.pop(node)
        process.kill()
        process.wait()

    def leader(self, topic: str, partition: int = 0) -> int:
        """Return which node leads a partition."""
        return int(self._partitions(topic)[partition]["leader_id"])

    def await_in_sync(self, topics: list[str], timeout_s: float = 90.0) -> None:
        """Wait until every replica of these topics is in sync."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                found = [part for topic in topics for part in self._partitions(topic).values()]
                if found and all(len(part["isr_nodes"]) == len(NODES) for part in found):
                    return
            except Exception as error:  # while a controller is elected anything may be refused
                found = [{"error": repr(error)}]
            assert time.monotonic() < deadline, f"not in sync after {timeout_s:.0f} s: {found[:2]}"
            time.sleep(0.3)

    def _partitions(self, topic: str) -> dict[int, dict]:
        with admin_client(self.settings) as client:
            (about,) = client.describe_topics([topic])
        return {part["partition_index"]: part for part in about["partitions"]}

    def await_up(self, timeout_s: float = 90.0) -> None:
        """Wait until all three are known to each other."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with admin_client(self.settings) as client:
                    if len(client.describe_cluster()["brokers"]) == len(NODES):
                        return
            except Exception:  # not yet
                pass
            assert time.monotonic() < deadline, "the cluster does not come up"
            time.sleep(0.5)

    def stop(self) -> None:
        """End all nodes."""
        for node in list(self._running):
            self.kill(node)


@contextmanager
def three_brokers(folder: Path, base: Settings) -> Iterator[Cluster]:
    """Run a cluster."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Cluster(folder, base)
    try:
        for node in NODES:
            found.start(node)
        found.await_up()
        yield found
    finally:
        found.stop()
