"""Requests to a running demo, as files."""

from __future__ import annotations

import json
import signal

from deploy.control import Ask, Control, ask, status, taken
from deploy.supervisor import SupervisorError


class FakeSupervisor:
    def __init__(self, **pids):
        self.pids, self.sent = pids, []

    def running(self):
        return dict(self.pids)

    def kill(self, name, sig):
        if name not in self.pids:
            raise SupervisorError(f"{name} does not run")
        self.sent.append((name, sig))


def test_requests_are_taken_once_in_order_and_what_is_none_is_dropped(tmp_path):
    ask(tmp_path, Ask("kill", "worker-0"))
    ask(tmp_path, Ask("pause", "trainer"))
    (tmp_path / "control" / "zz.json").write_text("[1")
    (tmp_path / "control" / "zy.json").write_text(json.dumps({"act": "explode", "part": "worker-0"}))
    (tmp_path / "control" / "zx.json").write_text(json.dumps(["kill", "worker-0"]))
    assert list(taken(tmp_path)) == [Ask("kill", "worker-0"), Ask("pause", "trainer")]
    assert list(taken(tmp_path)) == []
    assert list((tmp_path / "control").iterdir()) == []


def test_what_is_asked_is_done_and_shown(tmp_path):
    supervisor = FakeSupervisor(**{"worker-0": 11, "trainer": 12, "simulate": 13})
    control = Control(tmp_path, supervisor)
    for request in (Ask("pause", "trainer"), Ask("jump", ""), Ask("kill", "worker-0"), Ask("kill", "nobody")):
        ask(tmp_path, request)
    control.restarts["worker-0"] = 2
    control.look({"worker-0": 9100, "trainer": 9101})
    assert supervisor.sent == [("trainer", signal.SIGSTOP), ("simulate", signal.SIGUSR1), ("worker-0", signal.SIGKILL)]
    parts = {one["name"]: one for one in status(tmp_path)["parts"]}
    assert parts["worker-0"] == {"name": "worker-0", "pid": 11, "metrics_port": 9100, "paused": False, "restarts": 2}
    assert parts["trainer"]["paused"]
    assert parts["simulate"]["metrics_port"] is None
    ask(tmp_path, Ask("resume", "trainer"))
    control.look({})
    assert supervisor.sent[-1] == ("trainer", signal.SIGCONT)
    assert not any(one["paused"] for one in status(tmp_path)["parts"])


def test_at_the_end_what_stands_still_goes_on_so_that_it_can_stop(tmp_path):
    supervisor = FakeSupervisor(trainer=12)
    control = Control(tmp_path, supervisor)
    ask(tmp_path, Ask("pause", "trainer"))
    control.look({})
    control.close()
    assert supervisor.sent == [("trainer", signal.SIGSTOP), ("trainer", signal.SIGCONT)]
    assert status(tmp_path) == {}
