"""The command `freshloop report`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from model import story_figures
from model.story import Story, read_story
from model.story_page import page
from streams.config import Settings, load_settings

Say = Callable[[str], None]
#: Gives the settings under which the demo's topics can be read, for the duration.
Home = Callable[[Settings, Say], AbstractContextManager[Settings]]


def report_command(home: Home) -> Callable[..., None]:
    """Return the command; `home` finds the demo, since the model knows none."""

    def report(
        out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("freshloop-report.html"),
        limit: Annotated[int, typer.Option(min=1000, help="So many of the newest slates and of feedback.")] = 200_000,
        cluster: Annotated[
            bool, typer.Option("--cluster", help="Of the topics that the settings name, not of a demo.")
        ] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="The last line of the output is one JSON object.")
        ] = False,
    ) -> None:
        """Write one HTML page about a demo, running or ended: learning, freshness, topics, slates before and after.

        A demo that has ended is read from its data folder; its broker is started for as long as that takes.
        """
        settings = load_settings()
        if cluster:
            story = read_story(settings, limit, _say)
        else:
            with home(settings, _say) as found:
                story = read_story(found, limit, _say)
        shown = figures(story)
        out.write_text(page(shown), "utf-8")
        _say(f"{out} is written")
        if as_json:
            names, cosines = shown["kinship"]
            print(json.dumps(shown | {"out": str(out), "kinship": {"topics": names, "cosines": cosines.tolist()}}))

    return report


def figures(story: Story) -> dict[str, Any]:
    """Return everything that the page shows."""
    registry = story.registry
    start = min((one.impression_ms for one in story.feedback), default=story.slates[0][1].made_ms)
    began, ended = (datetime.fromtimestamp(at / 1000, UTC) for at in _span(story))
    return {
        "sentence": f"{len(story.slates)} slates and {len(story.feedback)} impressions from {began:%Y-%m-%d %H:%M:%S} "
        f"to {ended:%H:%M:%S} UTC, {len(story.videos)} videos" + (", the newest only" if story.cut else "") + ".",
        "rewards": story_figures.rewards(story.feedback),
        "curve": story_figures.learning_curve(story.feedback),
        "versions": story_figures.versions(registry, story.slates, start),
        "delays": story_figures.delays_ms(story.slates),
        "beliefs": story_figures.beliefs(story.slates, story.feedback, story.videos),
        "kinship": story_figures.kinship(registry, story.videos),
        "examples": story_figures.examples(story.slates, story.feedback, story.videos),
    }


def _span(story: Story) -> tuple[int, int]:
    times = [slate.made_ms for _, slate in story.slates]
    return min(times), max(times)


def _say(text: str) -> None:
    print(f"freshloop: {text}", file=sys.stderr, flush=True)
