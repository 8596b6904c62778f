"""Figures of cold items, for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

_ROWS = (
    ("frozen", "cold", "cold items, among all"),
    ("frozen", "cold_among_new", "cold items, among cold ones"),
    ("online", "cold", "cold items, among all"),
    ("online", "first_20", "in their first 20 exposures, among all"),
    ("online", "cold_among_new", "cold items, among cold ones"),
    ("online", "other", "all other items, among all"),
)


def print_cold(result: dict[str, Any]) -> None:
    """Print Recall@20 of each system with its interval, and what the graph adds, paired."""
    table = Table("arm", "targets", "without", "categories", "categories and graph", "graph - without", box=None)
    for arm, group, name in _ROWS:
        if group not in result[arm]:
            continue
        by = result[arm][group]
        systems = ("without", "categories", "categories and graph", "categories and graph - without")
        table.add_row(arm, name, *(_figure(by[system]["recall_at_20"]) for system in systems))
    console = Console(highlight=False)
    console.print("Recall@20 with 95 % intervals")
    console.print(table)
    console.print(
        f"{result['cold_items']} of {result['items']} items are cold, {result['targets']['cold']} targets of "
        f"{result['targets']['cold'] + result['targets']['other']}; {result['user_share']:.0%} of the users, "
        f"{result['stream_events']} events, seeds {result['seeds']}, {result['seconds']} s"
    )


def _figure(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['value']:.4f} [{low:.4f}, {high:.4f}]"
