"""`make faults`: all scenarios against a broker of their own, a table, and one JSON object as the last line."""

from __future__ import annotations

import streams.arithmetic  # noqa: F401  as streams/main.py does, before NumPy loads

# isort: split
import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from deploy import broker as embedded
from streams.config import Settings
from tests.conftest import free_ports
from tests.faults.scenarios import CONTROLS, SCENARIOS, Plan, Row, run

CONTROL_EVENTS = 1_500  # a round
ROUNDS = {"kills": 20, "two-workers": 10}
COLUMNS = ("rounds", "events", "lost", "doubled", "differs", "died", "seconds")


def main() -> int:
    """Run what was asked for; exit code 1 when a row is red, or a control is not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="scenarios or guards, comma-separated")
    parser.add_argument("--rounds", type=int, default=0, help="faults a scenario")
    parser.add_argument("--events", type=int, default=20_000, help="events a scenario, at least")
    parser.add_argument("--seed", type=int, default=1, help="of the load and of the random moments")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    args = parser.parse_args()
    wanted = [name for name in args.only.split(",") if name] or [
        *(name for name in SCENARIOS if name != "mixed"),
        *CONTROLS,
    ]
    if unknown := [name for name in wanted if name not in SCENARIOS and name not in CONTROLS]:
        parser.error(f"no scenario or guard {unknown[0]!r}; there are {', '.join([*SCENARIOS, *CONTROLS])}")
    port, controller = free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        broker = Settings(data_dir=Path(folder), broker_port=port, controller_port=controller, brokers="")
        embedded.up(broker)
        try:
            rows, failed = _run_all(wanted, args, broker, Path(folder) / "worlds")
        finally:
            embedded.down(broker)
    print(json.dumps({"rows": [asdict(row) for row in rows]}))
    return int(failed)


def _run_all(wanted: list[str], args: argparse.Namespace, broker: Settings, folder: Path) -> tuple[list[Row], bool]:
    rows, failed = [], False
    print(f"{'scenario':32}" + "".join(f"{name:>9}" for name in COLUMNS), flush=True)
    for name in wanted:
        scenario = CONTROLS.get(name, name)
        rounds = args.rounds or (3 if name in CONTROLS else ROUNDS.get(scenario, 5))
        plan = Plan(
            rounds, max(200, CONTROL_EVENTS if name in CONTROLS else -(-args.events // rounds)), args.seed, args.minutes
        )
        try:
            row = run(scenario, broker, folder, plan, mutant=name if name in CONTROLS else "")
            failed |= row.red != (name in CONTROLS)
        except Exception as error:  # what breaks off is a red row, and the others still run
            row, failed = Row(name, rounds, lost=1, note=repr(error)), True  # a control's too: it compared nothing
        row.name = f"control: no {name}" if name in CONTROLS else name
        rows.append(row)
        print(
            f"{row.name:32}" + "".join(f"{getattr(row, column):>9}" for column in COLUMNS) + f"  {row.note}", flush=True
        )
    return rows, failed


if __name__ == "__main__":
    sys.exit(main())
