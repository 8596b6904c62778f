"""Faults one after the other, short; `make faults` has the long form and more of them."""

from __future__ import annotations

import pytest

from tests.faults.scenarios import Plan, run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SHORT = {"mixed": Plan(1, 300), "zombie": Plan(1, 300)}


@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_doubled_or_different(name, broker, tmp_path):
    row = run(name, broker, tmp_path, SHORT[name])
    assert not row.red, row
