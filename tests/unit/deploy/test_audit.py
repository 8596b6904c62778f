"""The audit fails for what nobody accepted, and says when it could not look."""

from __future__ import annotations

import pytest

from deploy.audit import EXCEPTIONS, exceptions, verdict


def dependency(name, *advisories):
    return {"name": name, "version": "1.0", "vulns": [{"id": one, "aliases": [f"CVE-{one}"]} for one in advisories]}


REPORT = {"dependencies": [dependency("good"), dependency("bad", "GHSA-1")]}


def test_an_advisory_that_nobody_accepted_fails():
    assert verdict(REPORT, {}) == ("advisories that are not in audit-exceptions.txt: bad 1.0: GHSA-1", True)


@pytest.mark.parametrize("name", ["GHSA-1", "CVE-GHSA-1"])
def test_an_accepted_one_does_not(name):
    assert verdict(REPORT, {name: "not called"}) == (
        "2 dependencies have no advisory that is not accepted", False
    )  # fmt: skip


def test_a_database_that_cannot_be_reached_is_said():
    unknown = {"dependencies": [{"name": "good", "version": "1.0", "skip_reason": "not found"}]}
    assert verdict(unknown, {}) == ("the advisory database cannot be reached from here, so nothing was audited", False)


def test_one_that_could_not_be_looked_up_beside_others_fails():
    some = {"dependencies": [dependency("good"), {"name": "odd", "version": "1.0", "skip_reason": "not found"}]}
    assert verdict(some, {}) == ("of 2 dependencies these could not be looked up: odd", True)


def test_every_exception_has_its_reason():
    exceptions(EXCEPTIONS.read_text().splitlines())
    with pytest.raises(ValueError, match=r"X-1 in audit-exceptions\.txt has no reason"):
        exceptions(["X-1"])
