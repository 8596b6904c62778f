"""Fixtures shared by all tests: one real broker per session, and settings that no two tests share."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streams.config import Settings, load_settings

MakeSettings = Callable[..., Settings]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `make upgrade` takes."""
    parser.addoption("--upgrade-from", default="", help="Commit or tag that the upgrade test upgrades from.")


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that were free, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FRESHLOOP_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a real embedded broker on free ports, which ends with the session."""
    from deploy import broker as embedded

    port, controller = free_ports(2)
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("broker"), broker_port=port, controller_port=controller, brokers=""
    )
    embedded.up(settings)
    yield settings
    embedded.down(settings)


@pytest.fixture
def make_settings(request: pytest.FixtureRequest, tmp_path: Path) -> MakeSettings:
    """Return a factory of settings with topics, consumer group and data folder of their own.

    In a test that asks for `broker` they point at it; else at a port where nothing listens.
    """
    unique = uuid.uuid4().hex[:8]

    def make(**overrides: Any) -> Settings:
        here: dict[str, Any] = {"data_dir": tmp_path, "topic_prefix": f"t{unique}-", "app_id": f"test-{unique}"}
        if "broker" in request.fixturenames:
            here["brokers"] = request.getfixturevalue("broker").bootstrap
        else:
            here["broker_port"], here["controller_port"] = free_ports(2)
        return load_settings(**(here | overrides))

    return make
