"""The commands `freshloop forget` and `freshloop consent`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streams.admin import require_topics
from streams.config import load_settings

if TYPE_CHECKING:
    from streams.forget import asking, verifying

QUEUED = 3  # exit code: asked, and no worker has answered yet
REMAINS = 1  # exit code of --verify: something remains that should not

User = Annotated[str, typer.Argument(help="The user's id, with its arm where it has one.")]
Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]


def forget(
    user: User,
    verify: Annotated[bool, typer.Option("--verify", help="Look for what remains of the user; erase nothing.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for receipts.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Erase what is known of a user: state, cached slates, and what the trainer keeps. No slates until it consents.

    With --verify: compact, then look for the id and its pseudonym in every topic, table and file of this installation.
    Exit code 0: done, or nothing remains but what is kept by time; 1: something remains; 3: no worker has answered yet.
    """
    from streams.forget import asking, verifying

    settings = load_settings()
    require_topics(settings)
    if verify:
        found = verifying.verify(settings, user, _say)
        print(json.dumps(found.as_dict()) if as_json else _findings(found))
        raise typer.Exit(0 if found.clean else REMAINS)
    asked = asking.forget(settings, user, wait, _say)
    print(json.dumps(asked.as_dict()) if as_json else _receipt(asked))
    if not asked.done:
        raise typer.Exit(QUEUED)


def consent(user: User, as_json: Json = False) -> None:
    """Let a user who was forgotten come back, as somebody new; nothing of what was before returns."""
    from streams.forget import asking

    settings = load_settings()
    require_topics(settings)
    asked = asking.consent(settings, user)
    place = {"partition": asked.partition, "offset": asked.offset}
    print(json.dumps(place) if as_json else "noted; the user gets slates again")


def _receipt(asked: asking.Asked) -> str:
    if not asked.parts:
        where = f"offset {asked.offset} of partition {asked.partition}"
        return f"asked at {where}; the next worker that runs carries it out"
    lines = [f"receipt {asked.receipt} (events partition {asked.partition}, offset {asked.offset})"]
    for part in asked.parts:
        removed = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in part["removed"].items() if count)
        lines.append(f"  {part['part']}: {removed or 'held nothing of the user'}")
        if part["changelog"]:
            number, first, end = part["changelog"]
            lines.append(f"    withdrawn in the changelog, partition {number}, offsets {first} to {end - 1}")
    if not any(part["part"].startswith("trainer") for part in asked.parts):
        lines.append("  no trainer answered; it leaves the user out when it reads this")
    return "\n".join(lines)


def _findings(found: verifying.Findings) -> str:
    lines = []
    for place in found.places:
        what = f"{place.found} found" if place.found else "nothing"
        until = f", gone by {place.until}" if place.until else ""
        lines.append(f"{place.kind:13}{place.where}: {what}{until}{f' ({place.note})' if place.note else ''}")
    verdict = "nothing remains that should not" if found.clean else "something remains that should not"
    return "\n".join([*lines, f"weights      {found.weights}", verdict])


def _say(text: str) -> None:
    print(f"freshloop: {text}", file=sys.stderr, flush=True)
