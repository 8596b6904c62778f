"""`freshloop bench freshness`: what it is worth that states and weights are fresh, on a recorded log and in a loop.

A run is one warm-up and one pass with all points side by side. Its result is a line of JSON; a run whose line stands in
the file already is not made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.picture import Rows, panels

Say = Callable[[str], None]
_TELL_EVERY = 2_000


@dataclass(frozen=True)
class LogRun:
    """KuaiRand: days from the first event of the stream; of the targets `every` so many are judged."""

    days: float
    every: int
    source: str = "kuairand"

    def make(self, seed: int, say: Say) -> dict[str, Any]:
        """Run a seed."""
        from benchmarks.freshness_log import run_seed
        from model.evaluate_cli import Format, known
        from model.evaluate_config import DEFAULT, load_config

        def tell(what: str, done: int, total: int) -> None:
            if what == "events" and done % _TELL_EVERY < 1:
                say(f"{what}: {done} of {total}")

        data = known(Format.KUAIRAND, None, None, [])
        return run_seed(data, load_config(DEFAULT, self.source), self.days, self.every, seed, tell)


@dataclass(frozen=True)
class LoopRun:
    """The simulator; rate in events per second of each arm, drift in rad per hour."""

    seconds: float
    rate: float
    viewers: int
    drift: float
    source: str = "simulator"

    def make(self, seed: int, say: Say) -> dict[str, Any]:
        """Run a seed."""
        from benchmarks.freshness_loop import run_seed

        say(f"{self.seconds:g} simulated seconds")
        return run_seed(self.seconds, self.rate, self.viewers, self.drift, seed)


def run(
    kinds: Sequence[LogRun | LoopRun], seeds: Sequence[int], out: Path | None, picture: Path | None, say: Say
) -> dict[str, Any]:
    """Return the results of all runs, new and old."""
    made = {_key(line): line for line in _lines(out)}
    results = []
    for kind in kinds:
        for seed in seeds:
            wanted = {"run": asdict(kind), "seed": seed}
            result = made.get(_key(wanted))
            if result is None:
                say(f"{kind.source}, seed {seed}")
                result = wanted | kind.make(seed, say)
                if out is not None:
                    with out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(result) + "\n")
            results.append(result)
    if picture is not None:
        picture.write_text(drawn(results), "utf-8")
    return {"runs": results}


def _key(line: dict[str, Any]) -> str:
    return json.dumps([line["run"], line["seed"]], sort_keys=True)


def _lines(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


_VALUES = {
    "kuairand": ("Recall@20, KuaiRand (against everything at once)", "recall_at_20", "recall_at_20_lost"),
    "simulator": ("Simulator: share of the way from random to oracle", "reward_share", "lost"),
}


def drawn(results: Sequence[dict[str, Any]]) -> str:
    """Return a picture of the results: a chart for each source, the mean over its seeds."""
    charts: list[tuple[str, Rows]] = []
    for source, (title, value, lost) in _VALUES.items():
        mine = [result["rows"] for result in results if result["run"]["source"] == source]
        points = [rows for rows in zip(*mine, strict=True) if rows[0]["axis"] != "random"]
        if points:
            charts.append((title, [_bar(list(rows), value, lost) for rows in points]))
    return panels(charts)


def _bar(rows: list[dict[str, Any]], value: str, lost: str) -> tuple[str, float, str]:
    """Return label, value and text of a point, from its rows by seed."""
    mean = float(np.mean([row[value] for row in rows]))
    less = [row[lost] for row in rows if row[lost] is not None]
    text = f"{mean:.4f}" + (f" ({-np.mean(less):+.4f})" if less and rows[0]["every"] != "at once" else "")
    return f"{rows[0]['axis']}, {rows[0]['every']}", mean, text
