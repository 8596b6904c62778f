"""The command `freshloop evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from model import datasets
from model.cold_view import print_cold
from model.datasets import Dataset
from model.evaluate_config import DEFAULT, load_config
from model.trainer_cli import quiet_tensorflow
from streams.clock import Clock
from streams.config import ConfigError, load_settings

BROKEN = 1  # exit code: a score was not finite
_LINE_S = 10.0  # between two lines of progress where there is no terminal


class Format(StrEnum):
    """Formats of recorded logs."""

    KUAIRAND = "kuairand"
    SESSIONS = "sessions"
    INTERACTIONS = "interactions"


class _Bar:
    """Progress on stderr with the time left: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task = self._bar.add_task("reading", total=None)
        self._clock = Clock()
        self._what, self._began, self._told = "", 0.0, 0.0

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Move the bar, which begins anew with each kind of work."""
        now = self._clock.monotonic()
        if what != self._what:
            self._what, self._began = what, now
            self._bar.reset(self._task, description=what, total=total)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done)
        elif now - self._told >= _LINE_S:
            self._told = now
            left = f", {(now - self._began) / done * (total - done):.0f} s left" if done else ""
            print(f"freshloop: {what}: {done} of {total}{left}", file=sys.stderr, flush=True)


def evaluate(
    log_format: Annotated[Format, typer.Option("--format", help="kuairand, sessions or interactions.")],
    warm: Annotated[Path | None, typer.Option(help="What is learned beforehand. [default: of the data folder]")] = None,
    features: Annotated[Path | None, typer.Option(help="kuairand: the videos. [default: of the data folder]")] = None,
    stream: Annotated[
        list[Path] | None, typer.Option(help="What is judged; several, in order. [default: of the data folder]")
    ] = None,
    config: Annotated[
        Path, typer.Option(help="TOML file of the hyper-parameters.", show_default="model/evaluate.toml")
    ] = DEFAULT,
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "1",
    surfaces: Annotated[bool, typer.Option(help="Use the surface of the request (tab) in ranking.")] = True,
    baselines: Annotated[bool, typer.Option(help="Run the plain baselines beside the model.")] = True,
    counting: Annotated[bool, typer.Option(help="Run a third arm too: weights frozen, counts going on.")] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Judge items unseen in the warm-up: with categories and graph, and without.")
    ] = False,
    cold_users: Annotated[float, typer.Option(min=0.01, max=1.0, help="--cold: share of the users.")] = 0.25,
    warm_events: Annotated[int, typer.Option(min=0, help="interactions: events to learn on; 0: half, or all.")] = 0,
    user: Annotated[str, typer.Option(help="interactions: the user's column.")] = "",
    item: Annotated[str, typer.Option(help="interactions: the item's column.")] = "",
    time: Annotated[str, typer.Option(help="interactions: the column of time.")] = "",
    value: Annotated[str, typer.Option(help="interactions: a column of numbers; without it all count.")] = "",
    positive_from: Annotated[float, typer.Option(help="interactions: a target at this value or above.")] = 1.0,
    delimiter: Annotated[str, typer.Option(help="interactions: one character, or 'tab'; default: found.")] = "",
    repeats: Annotated[bool, typer.Option(help="interactions: rank what the user has had, too.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML page with the curves.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")] = False,
) -> None:
    """Judge the model on a recorded log: rank, record, then learn; frozen and online from the same warm weights.

    Every target is ranked in the whole catalogue before anything learns of it. Frozen: weights, counts and
    co-occurrence stay as after the warm-up, users' own states advance. Online: all of it follows the stream. Exit
    code 1: a score was not finite.
    """
    clock = Clock()
    began = clock.monotonic()
    if cold and (report is not None or counting):
        raise ConfigError("--cold writes no report and has no counting arm: leave out --report and --counting")
    settings = load_config(config, log_format.value)
    chosen = _seeds(seeds)
    with _Bar() as bar:
        if log_format is Format.INTERACTIONS:
            names = datasets.Columns(user, item, time, value, positive_from, _delimiter(delimiter))
            if warm is None:
                raise ConfigError("the format interactions needs a file; name it with --warm")
            data = datasets.interactions(warm, stream or [], names, warm_events, not repeats)
        else:
            data = known(log_format, warm, features, stream or [])
        if data.damaged:
            print(f"freshloop: {data.damaged} damaged lines are left out", file=sys.stderr)
        quiet_tensorflow()
        if cold:
            found = _run_cold(data, settings, chosen, surfaces, cold_users, bar)
            seconds = round(clock.monotonic() - began, 1)
            _end(found | {"format": log_format.value, "seeds": chosen, "seconds": seconds}, print_cold, as_json)
            return
        result = _run(data, settings, chosen, surfaces, baselines, counting, bar)
    result = {
        "format": log_format.value, **result, "seeds": chosen, "users": len(data.users), "items": len(data.items),
        "counts_advance": {"frozen": False, "frozen_counting": True, "online": True},
        "surfaces_used": surfaces and data.surfaces, "seconds": round(clock.monotonic() - began, 1),
    }  # fmt: skip
    if report is not None:
        from model.report import write_report

        print(f"freshloop: {write_report(result, report)} is written", file=sys.stderr)
    _end(result, _print, as_json)


def _end(result: dict[str, Any], show: Callable[[dict[str, Any]], None], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
    else:
        show(result)
    if result["broken"]:
        print(f"freshloop: {result['broken']} scores were not finite; the run does not count", file=sys.stderr)
        raise typer.Exit(BROKEN)


def _run(
    data: Dataset, settings: Any, seeds: list[int], surfaces: bool, baselines: bool, counting: bool, bar: _Bar
) -> dict[str, Any]:
    from model.evaluate_run import evaluate as run

    if not len(data.warm):
        raise ConfigError("the warm-up holds no event that can be read; name another file with --warm")
    try:
        return run(data, settings, seeds, surfaces, baselines, counting, bar.show)
    except ValueError as error:
        raise ConfigError(f"nothing can be judged: {error}") from None


def _run_cold(
    data: Dataset, settings: Any, seeds: list[int], surfaces: bool, users: float, bar: _Bar
) -> dict[str, Any]:
    from model.cold import ColdOptions, evaluate_cold

    if not data.content.tags:
        raise ConfigError("--cold needs a log whose items have categories: --format kuairand")
    try:
        return evaluate_cold(data, settings, seeds, ColdOptions(users=users), surfaces, bar.show)
    except ValueError as error:
        raise ConfigError(f"nothing can be judged: {error}") from None


def known(log_format: Format, warm: Path | None, features: Path | None, streams: list[Path]) -> Dataset:
    """Read a log of one of the two known formats; what is not named comes from the data folder."""
    folder = load_settings().data
    if log_format is Format.KUAIRAND:
        home = folder / "kuairand"
        return datasets.kuairand(
            warm or _one(home, "warm_sequences_*.jsonl*"),
            features or _one(home, "video_features_basic*.csv*"),
            streams or [_one(home, "stream_*.csv*")],
        )
    home = folder / "yoochoose"
    return datasets.sessions(warm or _one(home, "*train_tr*"), streams or [_one(home, "*train_valid*")])


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise ConfigError(f"{folder} has no {pattern}; name the file, or set FRESHLOOP_DATA")
    return found[0]


def _seeds(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise typer.BadParameter("must be whole numbers, comma-separated, as 1,2", param_hint="--seeds")
    return found


def _delimiter(text: str) -> str:
    text = "\t" if text in ("tab", "\\t") else text
    if len(text) > 1:
        raise typer.BadParameter("must be one character, or 'tab'", param_hint="--delimiter")
    return text


def _print(result: dict[str, Any]) -> None:
    table = Table("system", "arm", "Recall@20", "MRR@20", "NDCG@10", box=None)
    rows = [("whole", {arm: result[arm] for arm in ("frozen", "online")}), ("blend, no GRU", result["blend"])]
    if "frozen_counting" in result:
        rows.append(("whole", {"frozen, counting": result["frozen_counting"]}))
    for name, arms in [*rows, *result["baselines"].items()]:
        for arm, got in arms.items():
            low, high = got["intervals"]["recall_at_20"]
            recall = f"{got['recall_at_20']:.4f} [{low:.4f}, {high:.4f}]"
            table.add_row(name, arm, recall, f"{got['mrr_at_20']:.4f}", f"{got['ndcg_at_10']:.4f}")
    console = Console(highlight=False)
    console.print(table)
    gap = result["whole_minus_blend"]["online"]["recall_at_20"]
    console.print(f"online / frozen  {result['online_over_frozen']}")
    console.print(f"whole - blend    {gap['value']} {gap['interval']} (Recall@20, online, paired)")
    for name, value in (result.get("auc_detail") or {}).items():
        console.print(f"AUC {name:24} {value}")
    console.print(f"{result['online']['targets']} targets, seeds {result['seeds']}, {result['seconds']} s")
