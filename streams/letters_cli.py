"""The commands `freshloop dead-letters`."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streams.admin import require_topics
from streams.config import ConfigError, load_settings
from streams.letters import chosen, letters, replay

letters_app = typer.Typer(
    no_args_is_help=True, help="Records that could not be applied: what they were, and driving them again."
)

Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only letters with this reason; may be repeated.")]
Numbers = Annotated[list[int] | None, typer.Option("--number", help="Only the letter of this number; may be repeated.")]


@letters_app.command("list")
def list_letters(
    reason: Reasons = None,
    number: Numbers = None,
    newest: Annotated[int, typer.Option(min=0, help="So many of the newest; 0 for all.")] = 20,
    as_json: Json = False,
) -> None:
    """Show dead letters, the newest last. JSON has the original bytes as well, in base64."""
    settings = load_settings()
    require_topics(settings)
    all_ = chosen(letters(settings), reason or (), number or ())
    shown = all_[-newest:] if newest else all_
    counts = dict(Counter(one.reason for one in all_))
    if as_json:
        print(json.dumps({"total": len(all_), "reasons": counts, "letters": [one.as_json() for one in shown]}))
        return
    table = Table("number", "reason", "from", "bytes", "detail")
    for one in shown:
        where = f"{one.topic}-{one.partition} @ {one.offset}"
        table.add_row(str(one.number), one.reason, where, str(len(one.value)), one.detail[:80])
    Console(highlight=False).print(table)
    print(f"{len(all_)} dead letters" + "".join(f", {count} {name}" for name, count in counts.items()))


@letters_app.command("replay")
def replay_letters(
    reason: Reasons = None,
    number: Numbers = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Send the original records to their topics again, as they came. What still cannot be applied comes back."""
    if not (reason or number or everything):
        raise ConfigError("say which letters: --reason, --number or --all")
    settings = load_settings()
    require_topics(settings)
    sent, left = replay(settings, chosen(letters(settings), reason or (), number or ()))
    if as_json:
        print(json.dumps({"sent": [one.number for one in sent], "left": [one.number for one in left]}))
        return
    print(f"{len(sent)} records were sent again")
    if left:
        print(f"{len(left)} were not: they are cut short, or come from a topic of another installation")
