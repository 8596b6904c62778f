from __future__ import annotations

import pytest

from streams import failpoints
from streams.config import ConfigError, load_settings


@pytest.fixture(autouse=True)
def _disarmed():
    yield
    failpoints.arm("")


def test_inert_unless_armed():
    failpoints.arm("")
    for point in failpoints.POINTS:
        failpoints.reached(point)
    assert not failpoints.armed("committed")


def test_fails_the_nth_time_and_only_there():
    failpoints.arm("committed:3:raise")
    failpoints.reached("acknowledged")
    failpoints.reached("committed")
    failpoints.reached("committed")
    with pytest.raises(failpoints.FailpointError, match="committed was reached 3 times"):
        failpoints.reached("committed")
    failpoints.reached("committed")


REFUSED = {
    "nowhere": "no failpoint",
    "committed:0": "no count",
    "committed:x": "no count",
    "committed:1:sing": "no action",
}


@pytest.mark.parametrize(("text", "said"), REFUSED.items())
def test_a_setting_that_names_none_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        load_settings(failpoint=text)
