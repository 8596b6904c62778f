import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy import supervisor as module
from deploy.supervisor import ChildSpec, Supervisor, SupervisorError

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(60)")


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


@pytest.fixture
def parts(tmp_path):
    with Supervisor(tmp_path / "logs") as supervisor:
        yield supervisor


def events(supervisor, count, timeout_s=10.0):
    found, deadline = [], time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < deadline:
        found += supervisor.poll(0.2)
    return [(event.kind, event.code) for event in found]


def test_output_and_environment_of_a_child(parts):
    code = "import os, sys; print(os.environ['COLOUR']); print('oh', file=sys.stderr)"
    parts.start(ChildSpec("a", python(code), env={"COLOUR": "a=b c"}, restart="never"))
    assert events(parts, 1) == [("exited", 0)]
    assert parts.log("a").read_text() == "a=b c\noh\n"


def test_a_killed_child_starts_again(parts, monkeypatch):
    monkeypatch.setattr(module, "FIRST_BACKOFF_S", 0.05)
    first = parts.start(ChildSpec("a", SLEEP))
    assert parts.kill("a") == first
    assert events(parts, 2) == [("exited", -9), ("restarted", None)]
    assert parts.running()["a"] != first


def test_a_child_that_is_not_restarted_stays_down_and_may_be_started_anew(parts):
    spec = ChildSpec("a", python("import sys; sys.exit(5)"), restart="never")
    parts.start(spec)
    assert events(parts, 1) == [("exited", 5)]
    assert parts.poll(0.1) == []
    assert parts.running() == {}
    parts.start(spec)


def test_a_child_that_has_ended_unseen_may_be_started_anew(parts):
    spec = ChildSpec("a", python("import sys; sys.exit(5)"), restart="never")
    first = parts.start(spec)
    wait_for(lambda: not parts.running())  # nobody polls
    assert parts.start(spec) != first
    assert events(parts, 1) == [("exited", 5)]


def test_backoff_grows_to_its_bound(parts, monkeypatch):
    monkeypatch.setattr(module, "MAX_BACKOFF_S", 2.0)
    parts.start(ChildSpec("a", python("")))
    child = parts._children["a"]
    now, gaps = time.monotonic(), []
    for _ in range(4):
        child.process.wait()
        parts._look(child, now)
        gaps.append(child.restart_at - now)
        parts._look(child, child.restart_at)
    assert gaps == [0.5, 1.0, 2.0, 2.0]


def test_a_child_that_ran_long_starts_again_at_once(parts):
    parts.start(ChildSpec("a", python("")))
    child = parts._children["a"]
    child.process.wait()
    parts._look(child, child.started + module.STEADY_S)
    assert child.restart_at == child.started + module.STEADY_S


def test_start_returns_when_the_child_is_ready(parts, tmp_path):
    flag = tmp_path / "ready"
    code = f"import time, pathlib; time.sleep(0.2); pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    parts.start(ChildSpec("a", python(code), ready=flag.exists))
    assert flag.exists()


def test_a_child_that_ends_before_it_is_ready_is_named_with_its_last_words(parts):
    spec = ChildSpec("a", python("import sys; sys.exit('no luck')"), ready=lambda: False)
    with pytest.raises(SupervisorError, match=r"a ended with code 1 \(no luck\); see .*a\.log"):
        parts.start(spec)
    assert parts.running() == {}


def test_a_child_that_is_never_ready_is_stopped(parts):
    with pytest.raises(SupervisorError, match="not ready after 0 s"):
        parts.start(ChildSpec("a", SLEEP, ready=lambda: False, ready_timeout_s=0.2))
    assert parts.running() == {}


def test_dependencies_come_first(parts):
    with pytest.raises(SupervisorError, match="b needs a"):
        parts.start(ChildSpec("b", SLEEP, depends=("a",)))


def test_a_name_runs_once(parts):
    parts.start(ChildSpec("a", SLEEP))
    with pytest.raises(SupervisorError, match="runs already"):
        parts.start(ChildSpec("a", SLEEP))


def test_a_program_that_does_not_exist_is_told_in_the_log(parts):
    parts.start(ChildSpec("a", ("no-such-program",), restart="never"))
    assert events(parts, 1) == [("exited", 127)]
    assert "no-such-program cannot be run" in parts.log("a").read_text()


def test_children_stop_in_reverse_order(tmp_path):
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        f"    open({str(order)!r}, 'a').write(sys.argv[1])\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    with Supervisor(tmp_path) as supervisor:
        for name in "abc":
            log = supervisor.log(name)
            supervisor.start(ChildSpec(name, (*python(code), name), ready=lambda log=log: "up" in log.read_text()))
    assert order.read_text() == "cba"


def test_a_child_that_ignores_sigterm_is_killed_with_its_own_children(parts):
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    ready = lambda: parts.log("a").read_text().endswith("\n")  # noqa: E731
    parts.start(ChildSpec("a", python(code), ready=ready, stop_timeout_s=0.2))
    grandchild = psutil.Process(int(parts.log("a").read_text()))
    parts.stop("a")
    wait_for(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


HOST = """
import sys, time
from pathlib import Path
from deploy.supervisor import ChildSpec, Supervisor
with Supervisor(Path(sys.argv[1])) as supervisor:
    print(supervisor.start(ChildSpec("a", (sys.executable, "-S", "-c", "import time; time.sleep(60)"))), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("sig", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_children_end_with_their_supervisor(sig, code, tmp_path):
    if sig is signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux ties children to a parent that was killed")
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", HOST, str(tmp_path)], stdout=subprocess.PIPE, cwd=root) as host:
        child = psutil.Process(int(host.stdout.readline()))
        host.send_signal(sig)
        assert host.wait(10) == code
    wait_for(lambda: not child.is_running())
