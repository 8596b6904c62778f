"""The command `freshloop doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.doctor import Finding, examine, healthy, report
from streams.config import load_settings

Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]
_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}


def doctor(as_json: Json = False) -> None:
    """Look at Python, packages, disk, memory, broker, topics, worker and ports, and say what to mend.

    Exit code 0: nothing needs mending; 1: something does.
    """
    findings = list(examine(load_settings()))
    if as_json:
        print(json.dumps(report(findings)))
    else:
        _tell(findings)
    if not healthy(findings):
        raise typer.Exit(1)


def _tell(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(width=1)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        text = Text(finding.text)
        if finding.mend:
            text.append(f"\n→ {finding.mend}", colour)
        table.add_row(Text(mark, colour), finding.what, text)
    Console(highlight=False).print(table)
