"""The command `freshloop bench`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from streams.config import load_settings

bench_app = typer.Typer(
    no_args_is_help=True, help="Measure this installation; each prints its ratio and how to repeat."
)

Number = TypeVar("Number", int, float)
Json = Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _numbers(text: str, kind: Callable[[str], Number], option: str, above: int = 0) -> list[Number]:
    """Return comma-separated numbers above a bound.

    Raises:
      typer.BadParameter: they are something else.
    """
    try:
        found = [kind(one) for one in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(above < one < float("inf") for one in found):
        raise typer.BadParameter(f"{text!r} is no list of numbers above {above}, as 1,2", param_hint=option)
    return found


def _show(result: dict[str, Any], as_json: bool) -> None:
    result = result | {"command": f"freshloop {' '.join(sys.argv[1:])}"}
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:26} {json.dumps(value) if isinstance(value, dict | list) else value}")


@bench_app.command()
def pipeline(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contestant.")] = 5,
    events: Annotated[int, typer.Option(min=20_000, help="Events that are there to be read.")] = 200_000,
    seconds: Annotated[float, typer.Option(min=1, help="Longest turn, after its warm-up.")] = 8.0,
    only: Annotated[str, typer.Option(help="Contestants, comma-separated.")] = "limit,freshloop,quixstreams,bytewax",
    as_json: Json = False,
) -> None:
    """Events per second of one worker, against the limit of the machine and against other stream processors."""
    from benchmarks.pipeline import run

    _show(run(only.split(","), rounds, events, seconds, _say), as_json)


@bench_app.command()
def workers(
    counts: Annotated[str, typer.Option(help="Workers that share the partitions, comma-separated.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
    events: Annotated[int, typer.Option(min=20_000, help="Events of a turn.")] = 200_000,
    as_json: Json = False,
) -> None:
    """Events per second of one worker and of two that share the partitions, on this machine."""
    from benchmarks.workers import run

    _show(run(_numbers(counts, int, "--counts"), rounds, events, _say), as_json)


@bench_app.command()
def latency(
    seconds: Annotated[float, typer.Option(min=5, help="Time at each load.")] = 20.0,
    rate: Annotated[float, typer.Option(min=0, help="Saturating load in events/s; 0 measures it first.")] = 0.0,
    shares: Annotated[str, typer.Option(help="Shares of the saturating load, comma-separated.")] = "0.5,0.9",
    partitions: Annotated[
        str, typer.Option(help="Partitions, all of them the one worker's, comma-separated; each count by itself.")
    ] = "1,4",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each load; medians are told.")] = 5,
    as_json: Json = False,
) -> None:
    """Event to slate at half the saturating load and at 90 % of it: p50, p99 and p99.9.

    The result is that of the first count of partitions; `by_partitions` has that of each.
    """
    from benchmarks.latency import run

    wanted = _numbers(shares, float, "--shares")
    found = [run(wanted, seconds, rate, count, rounds, _say) for count in _numbers(partitions, int, "--partitions")]
    _show(found[0] | {"by_partitions": found}, as_json)


@bench_app.command()
def state(
    users: Annotated[int, typer.Option(min=10_000, help="Users with a state.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="Recoveries, each beside a bare consumer.")] = 5,
    as_json: Json = False,
) -> None:
    """Bytes of a user on disk and in the changelog, recovery against a bare consumer, and bounded memory."""
    from benchmarks.state import run

    _show(run(users, rounds, _say), as_json)


@bench_app.command()
def pool(
    sizes: Annotated[str, typer.Option(help="Videos in the pool, comma-separated.")] = "1000,10000,100000,1000000",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contestant.")] = 5,
    train: Annotated[float, typer.Option(min=5, help="Simulated seconds that the model is trained for first.")] = 60.0,
    as_json: Json = False,
) -> None:
    """What a slate costs in pools of 1,000 to 1,000,000 videos, and what the index finds of the exact slate."""
    from benchmarks.pool import run

    _show(run(_numbers(sizes, int, "--sizes"), rounds, train, _say), as_json)


@bench_app.command()
def train(
    examples: Annotated[
        int, typer.Option(min=1_000, help="Examples in the store, all gone through in a round.")
    ] = 24_000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contestant.")] = 5,
    threads: Annotated[int, typer.Option(min=0, help="Threads of TensorFlow for both; 0 lets it choose.")] = 0,
    as_json: Json = False,
) -> None:
    """Examples per second of the trainer's step and input pipeline, against the same model in a bare loop."""
    from model.trainer_cli import quiet_tensorflow

    quiet_tensorflow(threads)
    from benchmarks.train import run

    _show(run(examples, rounds, _say), as_json)


@bench_app.command()
def trainers(
    counts: Annotated[str, typer.Option(help="Processes that learn as one, comma-separated.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
    examples: Annotated[int, typer.Option(min=1_000, help="Examples of each process.")] = 24_000,
    as_json: Json = False,
) -> None:
    """Examples per second of one trainer process, and of two that learn as one, on this machine."""
    from benchmarks.trainers import run

    _show(run(_numbers(counts, int, "--counts"), rounds, examples, _say), as_json)


@bench_app.command()
def compression(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contestant.")] = 5,
    videos: Annotated[int, typer.Option(min=100, help="Videos in the pool.")] = 20_000,
    train: Annotated[float, typer.Option(min=5, help="Simulated seconds that the model is trained for first.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Size, speed and error of smaller forms of weights and of the pool's keys, beside float32."""
    from benchmarks.compression import run

    _show(run(rounds, videos, train, _say), as_json)


@bench_app.command()
def swap(
    swaps: Annotated[int, typer.Option(min=1, help="Versions published, one after another.")] = 5,
    rate: Annotated[float, typer.Option(min=100, help="Events per second meanwhile.")] = 5_000.0,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions, all of them this worker's.")] = 4,
    as_json: Json = False,
) -> None:
    """p99 of slates in the seconds around a change of the model's version, against the seconds before."""
    from benchmarks.swap import run

    _show(run(swaps, rate, partitions, _say), as_json)


@bench_app.command()
def freshness(
    source: Annotated[str, typer.Option(help="kuairand, simulator, or both comma-separated.")] = "kuairand,simulator",
    days: Annotated[float, typer.Option(min=0.01, help="kuairand: days of the stream, from its first event.")] = 2.0,
    every: Annotated[int, typer.Option(min=1, help="kuairand: of the targets every so many are judged.")] = 2,
    seconds: Annotated[float, typer.Option(min=30, help="simulator: simulated time.")] = 720.0,
    rate: Annotated[float, typer.Option(min=1, help="simulator: events per second of each arm.")] = 100.0,
    viewers: Annotated[int, typer.Option(min=10, help="simulator: viewers of each arm.")] = 1000,
    drift: Annotated[float, typer.Option(min=0, help="simulator: how fast tastes turn, in rad per hour.")] = 6.0,
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "1",
    out: Annotated[Path | None, typer.Option(help="JSON lines; what stands there already is not run again.")] = None,
    picture: Annotated[Path | None, typer.Option(help="SVG that is written.")] = None,
    as_json: Json = False,
) -> None:
    """What freshness is worth: states and weights seen at once, or only at boundaries of 10 s to a day, or never."""
    from model.trainer_cli import quiet_tensorflow

    quiet_tensorflow()
    from benchmarks.freshness import LogRun, LoopRun, run

    kinds: dict[str, LogRun | LoopRun] = {
        "kuairand": LogRun(days, every), "simulator": LoopRun(seconds, rate, viewers, drift)
    }  # fmt: skip
    if unknown := [name for name in source.split(",") if name not in kinds]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(kinds)}", param_hint="--source")
    chosen = [kinds[name] for name in source.split(",")]
    _show(run(chosen, _numbers(seeds, int, "--seeds", above=-1), out, picture, _say), as_json)


@bench_app.command()
def rebuild(
    counts: Annotated[str, typer.Option(help="Recent events, comma-separated.")] = "8,12,16,20,32,64,128",
    seconds: Annotated[float, typer.Option(min=30, help="Simulated time.")] = 240.0,
    rate: Annotated[float, typer.Option(min=1, help="Events per second.")] = 1200.0,
    viewers: Annotated[int, typer.Option(min=10, help="Viewers.")] = 700,
    drift: Annotated[float, typer.Option(min=0, help="How fast tastes turn, in rad per hour.")] = 0.25,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated world.")] = 1,
    as_json: Json = False,
) -> None:
    """How far a state made anew from the last N events is from that of a full replay, and what it costs in ranks."""
    from model.trainer_cli import quiet_tensorflow

    quiet_tensorflow()
    from benchmarks.rebuild import run

    _show(run(_numbers(counts, int, "--counts"), seconds, rate, viewers, drift, seed, _say), as_json)


@bench_app.command()
def content(
    seeds: Annotated[str, typer.Option(help="Seeds of the simulated world, comma-separated.")] = "1,2,3",
    variants: Annotated[
        str, typer.Option(help="What the model may see, comma-separated.", show_default="every one but media")
    ] = "",
    seconds: Annotated[float, typer.Option(min=20, help="Simulated time of a run.")] = 60.0,
    as_json: Json = False,
) -> None:
    """What content is worth on videos that hardly anybody has seen, in simulated time, with really rendered clips.

    The share of the way from random to the oracle, on impressions of a video that are among its first 20.
    """
    from benchmarks.content import run

    folder = load_settings().data_dir / "bench" / "clip-vectors"
    _show(
        run(_numbers(seeds, int, "--seeds", above=-1), variants.split(",") if variants else [], seconds, folder, _say),
        as_json,
    )


@bench_app.command("content-forms")
def content_forms(
    topics: Annotated[int, typer.Option(min=2, help="Latent topics, of four rendered clips each.")] = 24,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each form.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the clips.")] = 77,
    as_json: Json = False,
) -> None:
    """The content towers as LiteRT float32, float16 and int8, beside Keras and NumPy: clips/s, bytes and vectors."""
    from model.trainer_cli import quiet_tensorflow

    quiet_tensorflow(threads=1)
    from benchmarks.content_forms import run
    from producers.clip_files import render

    _show(run(render, topics, rounds, seed, _say), as_json)


@bench_app.command()
def ingest(
    clips: Annotated[Path, typer.Option(help="A folder of real clips (.mp4, .mkv). [default: data/clips]")] = Path(),
    clip_rate: Annotated[float, typer.Option(min=0.1, help="Clips published per second.")] = 5.0,
    rate: Annotated[float, typer.Option(min=1, help="Events per second beside them.")] = 500.0,
    seconds: Annotated[float, typer.Option(min=10, help="Time of the measurement.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Published to recommendable with vectors, and event to slate beside it, while real clips come."""
    from benchmarks.ingest import run

    folder = clips if clips != Path() else load_settings().data / "clips"
    _show(run(folder, clip_rate, rate, seconds, _say), as_json)
