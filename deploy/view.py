"""The demo's live terminal view: a few rows, refreshed in place; plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.demo import ARMS, Demo
from deploy.scrape import quantile, total

PLAIN_EVERY = 10  # looks between two plain lines

_COLOURS = {"online": "green", "frozen": "cyan", "popular": "yellow", "random": "dim", "oracle": "magenta"}


class Rates:
    """Counters per second between two looks."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def __call__(self, name: str, value: float, now: float) -> float:
        """Return how fast `value` rose since the last call for `name`, in units per second; 0 at first."""
        before, at = self._last.get(name, (value, now))
        self._last[name] = (value, now)
        return (value - before) / (now - at) if now > at else 0.0


def figures(demo: Demo, rates: Rates, now: float) -> dict[str, Any]:
    """Return what the view shows."""
    workers, trainer, simulated = demo.samples("worker"), demo.samples("trainer"), demo.simulated()
    found: dict[str, Any] = {
        f"{name}/s": rates(name, total(workers, f"freshloop_{name}_total"), now)
        for name in ("events", "slates", "feedback")
    }
    found |= {
        "p50": quantile(workers, "freshloop_event_to_slate_seconds", 0.5),
        "p99": quantile(workers, "freshloop_event_to_slate_seconds", 0.99),
        "dead letters": int(total(workers, "freshloop_dead_letters_total")),
        "videos": int(total(demo.samples("worker-0"), "freshloop_pool_videos")),
        "version": demo.versions[-1] if demo.versions else 0,
        "served": len(demo.versions),
        "examples": int(total(trainer, "freshloop_train_examples_total")),
        "reward": simulated.get("reward", {}),
        "share": simulated.get("reward_share", {}),
        "interval": simulated.get("reward_share_interval", {}),
        "restarts": demo.restarts,
    }
    return found


def as_line(found: dict[str, Any], seconds: float) -> str:
    """Return the figures as one line."""
    share = " ".join(f"{arm} {value:.2f}" for arm, value in found["share"].items() if value is not None)
    return (
        f"{seconds:4.0f} s  {found['events/s']:.0f} events/s  {found['slates/s']:.0f} slates/s  event→slate p50 "
        f"{_ms(found['p50'])} p99 {_ms(found['p99'])}  model v{found['version']}  reward share: {share or 'not yet'}"
    )


def as_table(found: dict[str, Any], seconds: float, until: float | None) -> Panel:
    """Return the figures as a panel."""
    loop = Table.grid(padding=(0, 3))
    left = "" if until is None else f" of {until:.0f}"
    rows = (
        ("events/s", f"{found['events/s']:,.0f}", "event → slate", f"p50 {_ms(found['p50'])}  p99 {_ms(found['p99'])}"),
        ("slates/s", f"{found['slates/s']:,.0f}", "fresh videos", f"{found['videos']:,}"),
        ("feedback/s", f"{found['feedback/s']:,.0f}", "model", f"version {found['version']}, {found['served']} served"),
        ("dead letters", f"{found['dead letters']}", "learned from", f"{found['examples']:,} examples"),
        ("restarts", f"{found['restarts']}", "time", f"{seconds:.0f}{left} s"),
    )
    for name, value, other, what in rows:
        loop.add_row(Text(name, "dim"), Text(value, "bold"), Text(other, "dim"), Text(what, "bold"))
    return Panel(Group(loop, Text(), _rewards(found)), title="Freshloop", subtitle="Ctrl-C stops everything")


def _rewards(found: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("reward", "dim"), Text("per video", "dim"), Text("from random (0) to oracle (1)", "dim"))
    for arm in ("oracle", *ARMS):
        reward, share = found["reward"].get(arm), 1.0 if arm == "oracle" else found["share"].get(arm)
        bar = "" if share is None else "█" * round(30 * min(max(share, 0.0), 1.0))
        told = "not yet" if share is None else f"{share:.2f}"
        low_high = found["interval"].get(arm)
        spread = f" [{low_high[0]:.2f}, {low_high[1]:.2f}]" if low_high and None not in low_high else ""
        table.add_row(
            Text(arm, _COLOURS[arm]),
            "-" if reward is None else f"{reward:.3f}",
            Text(f"{bar} {told}{spread}", _COLOURS[arm]),
        )
    return table


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


class View:
    """Shows a demo on the terminal; a context manager."""

    def __init__(self, console: Console, until: float | None) -> None:
        self._console, self._until, self._rates, self._looks = console, until, Rates(), 0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Callable[[Demo, float], None]:
        if self._live is not None:
            self._live.start()
        return self.show

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, demo: Demo, seconds: float) -> None:
        """Show the demo as it is after `seconds`."""
        found = figures(demo, self._rates, seconds)
        if self._live is not None:
            self._live.update(as_table(found, seconds, self._until), refresh=True)
        elif self._looks % PLAIN_EVERY == 0:
            self._console.print(as_line(found, seconds), highlight=False, soft_wrap=True)
        self._looks += 1
