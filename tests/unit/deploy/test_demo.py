from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy import demo
from deploy.demo import DemoOptions, parts


@contextmanager
def _home(settings, monkeypatch):
    monkeypatch.setattr(demo, "answering_cluster", lambda settings: None)
    monkeypatch.setattr(demo.broker, "down", lambda home: None)
    with demo._home(settings, print) as home:
        yield home


@pytest.mark.parametrize(("asked", "kept"), [({}, "64"), ({"recent_events": 20}, "20"), ({"recent_events": 32}, "32")])
def test_every_part_of_a_demo_keeps_the_same_number_of_recent_steps(make_settings, monkeypatch, asked, kept):
    """The worker makes states of them, the trainer windows as long: were they two numbers, neither would notice."""
    with _home(make_settings(**asked), monkeypatch) as home:
        found = parts(home, DemoOptions(), Path("summary.json"))
    assert {spec.name for spec in found} >= {"worker-0", "trainer"}
    assert {spec.env["FRESHLOOP_RECENT_EVENTS"] for spec in found} == {kept}
