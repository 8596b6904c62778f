"""The command `freshloop experiment`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model.choices import Log
from model.experiment import Result
from model.judging import checked, judged
from streams.admin import require_topics
from streams.codecs import BadRecord, Decoder
from streams.config import ConfigError, Settings, load_settings
from streams.core.events import Feedback
from streams.reading import read_topic
from streams.topics import Topics

_decode = Decoder(Feedback)


def experiment(
    control: Annotated[str, typer.Option(help="The arm that the others are compared with.")] = "online",
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Also judge a policy that need not run: random, popular, version or version:NUMBER."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Threshold of judged versions; the setting's when not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")] = False,
) -> None:
    """Compare the rewards of the arms, from the feedback that is kept. It may be run as often as one likes.

    Users are in arms by the suffix of their id, or by buckets (settings experiment and experiment_shares). Intervals
    are valid at all looks together, so that the first look that settles a difference may end the experiment. The A/A
    check compares two halves of the control's users, and must not settle. Explored slots tell what a uniform draw
    would have earned; where an arm `random` runs, it says whether that is so.

    A policy is judged by the explored positions of the control, by what a position of its slates would have earned:
    self-normalised, and, where a version is named, doubly robust with the newest named one as the model of the reward.
    Only positions count that came after what the named versions learned from. The mean weight must be 1: less means
    that exploration does not show all that the policy chooses, as uniform exploration does not.
    """
    settings = load_settings()
    names = [checked(name) for name in policy or ()]
    require_topics(settings)
    result, log = Result(control, settings.experiment), Log(control)
    for record in _feedback(settings):
        result.add([record])
        if names:
            log.add(record)
    found = result.summary()
    if control not in found["arms"]:
        known = ", ".join(found["arms"]) or "no arm yet"
        raise ConfigError(f"there is no feedback of arm {control!r}; there is of {known} (--control)")
    if names:
        found["policies"] = judged(settings, log, names, settings.threshold if threshold is None else threshold)
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)
    if found["aa"]["settled"]:
        print("freshloop: the halves of one arm differ, so something is wrong with the buckets", file=sys.stderr)


def _feedback(settings: Settings) -> Iterator[Feedback]:
    """Yield all feedback that there is now.

    Raises:
      ConfigError: the cluster does not answer in time.
    """
    for record in read_topic(settings, Topics(settings).feedback, settings.partitions):
        try:
            yield _decode(record.value)
        except BadRecord:
            continue  # of another schema; this command only reads


def _print(found: dict[str, Any]) -> None:
    table = Table("arm", "users", "labels", "mean label", "less control", "95 % at all looks", "settled", box=None)
    for arm, mean in found["arms"].items():
        gap = found["differences"].get(arm)
        told = (f"{gap['value']:+.4f}", _interval(gap), "yes" if gap["settled"] else "not yet") if gap else ("", "", "")
        table.add_row(arm, str(mean["users"]), str(mean["labels"]), f"{mean['mean_label']:.4f}", *told)
    console = Console(highlight=False)
    console.print(table)
    aa = found["aa"]
    state = "differ: look for a mistake" if aa["settled"] else "quiet"
    uniform = found["uniform"]
    if uniform["labels"]:
        console.print(
            f"a uniform draw would have {uniform['value']:.4f}, {_interval(uniform)}, "
            f"by {uniform['labels']} explored slots of {found['control']}"
        )
    for name, one in found.get("policies", {}).items():
        console.print(
            f"policy {name}: self-normalised {_estimate(one['snips'])}; doubly robust {_estimate(one['robust'])}; "
            f"mean weight {_estimate(one['weight'])}, worth {one['effective']:.0f} of {one['choices']} choices"
        )
    console.print(f"A/A check, halves of {found['control']}: {_interval(aa)}, {state}")


def _estimate(one: dict[str, Any]) -> str:
    return f"{one['value']:.4f}, {_interval(one)}" if one["value"] is not None else "not known"


def _interval(gap: dict[str, Any]) -> str:
    return f"from {gap['low']:+.4f} to {gap['high']:+.4f}" if gap["low"] is not None else "not known yet"
