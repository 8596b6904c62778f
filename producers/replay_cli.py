"""The command `freshloop replay`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, get_args

import typer

from producers.logs import InteractionsLog, KuairandLog, RecordedLog, TimeUnit
from producers.replay import Options, Replay
from producers.view import Bar, View
from streams.admin import create_topics, require_topics
from streams.clock import Clock
from streams.config import ConfigError, Settings, load_settings
from streams.topics import Topics

INCOMPLETE = 3  # exit code: patience ended
NOT_ONCE = 1  # exit code: everything is accounted for, and something is off

Say = Callable[[str], None]
#: Starts so many workers for the duration; gives what looks after them.
Workers = Callable[[Settings, int, Say], AbstractContextManager[Callable[[], None]]]


class Format(StrEnum):
    """Formats of recorded logs."""

    KUAIRAND = "kuairand"
    INTERACTIONS = "interactions"


def parse_speed(text: str) -> float | None:
    """Return the multiple of the log's own pace, None for `max`.

    Raises:
      typer.BadParameter: it is neither.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter("must be a number above 0, as 1 or 10, or 'max'")
    return speed


def parse_run(text: str) -> str:
    """Return the name of a run, made from the clock when none is given.

    Raises:
      typer.BadParameter: it holds what an id should not.
    """
    if not text:
        return f"r{Clock().now_ms():x}"
    if len(text) > 64 or not all(letter.isalnum() or letter in "._-" for letter in text):
        raise typer.BadParameter("must be at most 64 letters, digits, dots, dashes or underscores")
    return text


def data_path(settings: Settings, asked: Path | None, name: str) -> Path:
    """Return where a data set is.

    Raises:
      ConfigError: it is not there.
    """
    path = asked or settings.data / name
    if not path.exists():
        where = "" if asked else " (the folder that FRESHLOOP_DATA names)"
        raise ConfigError(f"{path}{where} does not exist; say where the log is: freshloop replay {name} PATH")
    return path


def replay_command(workers: Workers) -> Callable[..., None]:
    """Return the command; `workers` starts workers, since the producers know none."""

    def replay(
        log_format: Annotated[Format, typer.Argument(metavar="FORMAT", help="kuairand or interactions.")],
        path: Annotated[
            Path | None, typer.Argument(help="Folder (kuairand) or file (interactions); default: the data folder's.")
        ] = None,
        speed: Annotated[str, typer.Option(help="1 is the log's own pace, 10 ten times that; max.")] = "max",
        run: Annotated[
            str, typer.Option(help="Name of the run; the same name again goes on where it ended. Default: a new one.")
        ] = "",
        workers_wanted: Annotated[
            int, typer.Option("--workers", min=0, max=64, help="Start so many workers for the duration.")
        ] = 0,
        patience: Annotated[float, typer.Option(min=1, help="Seconds without progress before giving up.")] = 60.0,
        force: Annotated[
            bool, typer.Option("--force", help="Replay into topics whose time has passed the log.")
        ] = False,
        extend_retention: Annotated[
            bool,
            typer.Option(
                "--extend-retention", help="Let the events topic keep records as old as the log, on any cluster."
            ),
        ] = False,
        user: Annotated[str, typer.Option(help="interactions: the user's column.")] = "",
        item: Annotated[str, typer.Option(help="interactions: the item's column.")] = "",
        time: Annotated[str, typer.Option(help="interactions: the column of time.")] = "",
        value: Annotated[str, typer.Option(help="interactions: a column of numbers; without it all are liked.")] = "",
        liked_from: Annotated[float, typer.Option(help="interactions: liked at this value or above.")] = 1.0,
        delimiter: Annotated[str, typer.Option(help="interactions: one character, or 'tab'; default: found.")] = "",
        time_unit: Annotated[str, typer.Option(help="interactions: auto, s, ms, us, ns or iso.")] = "auto",
        as_json: Annotated[
            bool, typer.Option("--json", help="The last line of the output is one JSON object.")
        ] = False,
    ) -> None:
        """Replay a recorded log through the stream, and say whether every event was applied exactly once.

        Exit code 0: it was; 1: it was not; 3: nothing moved for --patience seconds.
        """
        settings = load_settings()
        options = Options(
            run=parse_run(run),
            speed=parse_speed(speed),
            resume=bool(run),
            patience_s=patience,
            force=force,
            extend_retention=extend_retention,
            coming=workers_wanted,
        )
        if log_format is Format.KUAIRAND:
            log: RecordedLog = KuairandLog(data_path(settings, path, "kuairand"), Clock().now_ms())
        else:
            log = _interactions(path, user, item, time, value, delimiter, time_unit, liked_from)
        with Bar("events applied") as view:
            if workers_wanted:
                for done in create_topics(settings):
                    view.say(done)
            else:
                require_topics(settings)
            _replay(settings, log, options, view, workers, workers_wanted, as_json)

    return replay


def _replay(
    settings: Settings, log: RecordedLog, options: Options, view: View, workers: Workers, count: int, as_json: bool
) -> None:
    with workers(settings, count, view.say) if count else nullcontext(lambda: None) as look_after:
        replay = Replay(settings, log, options, view, look_after)
        try:
            result = replay.run()
        except KeyboardInterrupt:
            view.say(f"stopped; {replay.result().sentence}")
            raise
    if not result.complete:
        view.say(
            f"nothing was applied for {options.patience_s:.0f} s: look whether a worker runs in group "
            f"{Topics(settings).group}, and at the end of its log"
        )
    view.say(f"{result.sentence} ({result.seconds} s)")
    print(json.dumps(asdict(result)) if as_json else _table(asdict(result)))
    if not result.complete:
        raise typer.Exit(INCOMPLETE)
    if not result.exactly_once:
        raise typer.Exit(NOT_ONCE)


def _interactions(
    path: Path | None, user: str, item: str, time: str, value: str, delimiter: str, unit: str, liked_from: float
) -> InteractionsLog:
    if path is None:
        raise typer.BadParameter("the format 'interactions' needs a file", param_hint="PATH")
    if not path.is_file():
        raise ConfigError(f"{path} is not a file; name the delimited file to replay")
    delimiter = "\t" if delimiter in ("tab", "\\t") else delimiter
    if len(delimiter) > 1:
        raise typer.BadParameter("must be one character, or 'tab'", param_hint="--delimiter")
    for known in get_args(TimeUnit):
        if unit == known:
            return InteractionsLog(path, user, item, time, value, delimiter, known, liked_from, Clock().now_ms())
    raise typer.BadParameter(f"must be one of {', '.join(get_args(TimeUnit))}", param_hint="--time-unit")


def _table(counts: dict[str, object]) -> str:
    return "\n".join(f"{name:20}{value}" for name, value in counts.items())
