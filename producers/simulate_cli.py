"""The command `freshloop simulate`."""

from __future__ import annotations

import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from producers.parameters import DEFAULT, load_parameters
from producers.simulate import Options, Simulator
from streams.admin import require_topics
from streams.clock import Clock
from streams.config import ConfigError, load_settings
from streams.processes import ProgressLine, serve_metrics

ARMS = ("online", "frozen", "popular", "random")


class From(StrEnum):
    """What reward shares count."""

    START = "start"
    FROZEN = "frozen"


def simulate(
    viewers: Annotated[int, typer.Option(min=1, max=100_000, help="Viewers.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, max=20_000, help="Events per second, all arms together.")] = 500.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="The same seed makes the same world.")] = 1,
    arms: Annotated[
        str, typer.Option(help="Comma-separated; each viewer exists once per arm: online, frozen, popular, random.")
    ] = "online",
    videos: Annotated[int, typer.Option(min=1, max=1_000_000, help="Videos at the start.")] = 2000,
    publish_rate: Annotated[float, typer.Option(min=0.0, max=1000, help="New videos per second.")] = 4.0,
    for_seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="End after so many seconds.")] = None,
    measure_from: Annotated[
        From, typer.Option(help="Count reward from the start, or from when the frozen arm's model is older.")
    ] = From.START,
    ramp: Annotated[float, typer.Option(min=0.0, help="The rate is reached evenly over so many seconds.")] = 0.0,
    jump_at: Annotated[float | None, typer.Option(min=0.0, help="Every taste jumps after so many seconds.")] = None,
    products: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the videos that are products.")] = 0.0,
    rooms: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of them that are live rooms.")] = 0.0,
    clips: Annotated[Path | None, typer.Option(help="Videos show recorded clips of this folder.")] = None,
    render: Annotated[
        Path | None, typer.Option(help="Videos show clips that follow from their topics, rendered into this folder.")
    ] = None,
    parameters: Annotated[Path, typer.Option(help="The world's parameters (TOML).")] = DEFAULT,
    summary: Annotated[Path | None, typer.Option(help="A JSON file that is kept up to date.")] = None,
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for Prometheus; 0: none.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The last line of the output is one JSON object.")] = False,
) -> None:
    """Simulate viewers and a studio: they read their slates, answer them, and new videos come all the time.

    Ends with Ctrl-C or after --for seconds, and then says what the viewers got.
    """
    settings = load_settings()
    options = Options(
        viewers=viewers,
        rate=rate,
        seed=seed,
        arms=parse_arms(arms),
        videos=videos,
        publish_rate=publish_rate,
        seconds=for_seconds,
        measure_from=measure_from.value,
        ramp_s=ramp,
        jump_at_s=jump_at,
        products=products,
        rooms=rooms,
        summary=summary,
        clips=clips,
        render=render,
    )
    if options.measure_from == From.FROZEN and not {"online", "frozen"} <= set(options.arms):
        raise ConfigError("--measure-from frozen needs the arms online and frozen (--arms online,frozen)")
    if clips is not None and render is not None:
        raise ConfigError("--clips and --render exclude each other")
    if products + rooms > 1.0:
        raise ConfigError("--products and --rooms are shares of the same videos: together 1 at most")
    if summary is not None and not summary.absolute().parent.is_dir():
        raise ConfigError(f"the folder of --summary {summary} is not there")
    world = load_parameters(parameters)
    require_topics(settings)
    clock = Clock()
    line = ProgressLine(_say, clock)
    simulator = Simulator(settings, world, options, clock, _say, lambda summary: line(one_line(summary)))
    if metrics_port:
        serve_metrics(settings, metrics_port, simulator.metrics.registry)
    _stop_on_signals(simulator)
    try:
        found = simulator.run()
    finally:
        line.end()
    print(json.dumps(found) if as_json else describe(found))


def parse_arms(text: str) -> tuple[str, ...]:
    """Return the arms named in an option.

    Raises:
      ConfigError: one is not known or named twice.
    """
    arms = tuple(part.strip() for part in text.split(",") if part.strip())
    wrong = [arm for arm in arms if arm not in ARMS]
    if wrong or not arms or len(set(arms)) != len(arms):
        raise ConfigError(f"--arms takes each of {', '.join(ARMS)} once at most, comma-separated; not {text!r}")
    return arms


def one_line(summary: dict[str, Any]) -> str:
    """Return a summary in one line."""
    delay = summary["event_to_slate_ms"]
    parts = [
        f"{summary['seconds']:.0f} s",
        f"{summary['events']} events ({summary['events_per_second']:.0f}/s)",
        f"{summary['slates']} slates",
    ]
    if delay["count"]:
        parts.append(f"event to slate {delay['p50']}/{delay['p99']} ms")
    else:
        parts.append("no slate yet: does a worker run?")
    rewards = summary["last_minute"]["reward"]
    parts.extend(f"{arm} {value:.3f}" for arm, value in rewards.items() if value is not None)
    return ", ".join(parts)


def describe(summary: dict[str, Any]) -> str:
    """Return a summary for a person, in a few lines."""
    lines = [
        f"{summary['events']} events in {summary['seconds']:.0f} s: {summary['impressions']} impressions, "
        f"{summary['outcomes']} outcomes ({summary['late']} late), {summary['missing_outcomes']} without one",
        f"{summary['slates']} slates; {summary['videos']} videos, {summary['videos_withdrawn']} withdrawn",
    ]
    if summary.get("products_bought") or summary.get("rooms_entered"):
        lines.append(
            "{products_bought} products bought, {products_sold_out} sold out, {products_restocked} came back; "
            "{rooms_entered} visits of live rooms, {rooms_ended} rooms ended".format(**summary)
        )
    if summary["event_to_slate_ms"]["count"]:
        lines.append("event to slate {p50} ms (p99 {p99} ms), as viewers see it".format(**summary["event_to_slate_ms"]))
    for arm in summary["arms"]:
        reward, share = summary["reward"][arm], summary["reward_share"][arm]
        if reward is None:
            continue
        place = "" if share is None else f", {share:.0%} of the way from random to the oracle"
        within = summary["reward_share_interval"][arm]
        around = "" if share is None or not within else f" ({within[0]:.0%} to {within[1]:.0%})"
        lines.append(f"{arm:8} reward {reward:.3f}{place}{around}")
    return "\n".join(lines)


def _stop_on_signals(simulator: Simulator) -> None:
    """Let the first SIGINT or SIGTERM end the run cleanly, and the second at once; SIGUSR1 lets tastes jump."""

    def handle(*_: object) -> None:
        if simulator.stopping:
            raise KeyboardInterrupt
        simulator.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    signal.signal(signal.SIGUSR1, lambda *_: simulator.jump())


def _say(text: str) -> None:
    print(f"freshloop: {text}", file=sys.stderr, flush=True)
