from __future__ import annotations

import socket

import pytest

from deploy import workers
from deploy.workers import running_workers
from streams.config import ConfigError
from tests.conftest import free_ports


def test_a_worker_that_cannot_start_is_one_sentence_with_its_reason(make_settings):
    settings = make_settings(metrics_port=free_ports(1)[0])
    with (
        pytest.raises(ConfigError, match=r"replay-1 ended with code \d+ \(.*\); see .*replay-1\.log"),
        running_workers(settings, 1),
    ):
        pass


def test_ports_in_use_are_passed_over(make_settings, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        first = taken.getsockname()[1]
        settings = make_settings(metrics_port=first)
        assert first not in workers._free_ports(settings, 2)
        monkeypatch.setattr(workers, "_PORTS", 1)
        with pytest.raises(ConfigError, match=f"no 1 free ports from {first} on; set FRESHLOOP_METRICS_PORT"):
            workers._free_ports(settings, 1)
