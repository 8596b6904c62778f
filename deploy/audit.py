"""Looks every locked dependency up in the advisory database: `make audit`.

Fails when one has an advisory that is not among the exceptions, or when only some could be looked up. Where the
database cannot be reached nothing is known, and that is said instead.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXCEPTIONS = Path(__file__).with_name("audit-exceptions.txt")
TIMEOUT_S = 180


def exceptions(lines: Iterable[str]) -> dict[str, str]:
    """Return the reasons of accepted advisories, by id.

    Raises:
      ValueError: one has no reason.
    """
    found = {}
    for line in lines:
        if (text := line.strip()) and not text.startswith("#"):
            name, _, reason = text.partition(" ")
            if not reason.strip():
                raise ValueError(f"{name} in {EXCEPTIONS.name} has no reason")
            found[name] = reason.strip()
    return found


def verdict(report: dict[str, Any], accepted: dict[str, str]) -> tuple[str, bool]:
    """Return a sentence about pip-audit's report, and whether it is bad news."""
    dependencies = report["dependencies"]
    looked_up = [one for one in dependencies if "skip_reason" not in one]
    if not looked_up:
        return "the advisory database cannot be reached from here, so nothing was audited", False
    found = [
        f"{one['name']} {one['version']}: {advisory['id']}"
        for one in looked_up
        for advisory in one["vulns"]
        if not {advisory["id"], *advisory.get("aliases", ())} & accepted.keys()
    ]
    if found:
        return f"advisories that are not in {EXCEPTIONS.name}: {'; '.join(sorted(found))}", True
    skipped = sorted(one["name"] for one in dependencies if "skip_reason" in one)
    if skipped:
        return f"of {len(dependencies)} dependencies these could not be looked up: {', '.join(skipped)}", True
    return f"{len(looked_up)} dependencies have no advisory that is not accepted", False


def main() -> int:
    """Audit, say what was found, and return the exit code."""
    command = [
        sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off",
        "--format", "json", "-r", str(ROOT / "requirements.lock"),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        report = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        report = {"dependencies": []}
    text, bad = verdict(report, exceptions(EXCEPTIONS.read_text("utf-8").splitlines()))
    print(f"freshloop: {text}", file=sys.stderr)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
