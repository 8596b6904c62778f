"""A trained model and the viewers it was trained on, for benchmarks whose answer depends on what vectors look like.

The closed loop runs for a while in a process of its own, since TensorFlow would be in the way of what is measured.

    python -m benchmarks.trained --seconds 60 --out FILE
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from model.config import model_config
from model.serving import NumpyScorer
from model.weights import Weights
from streams.core.ports import Floats

_LEAST_STEPS = 6  # of a viewer's history; before, states are much alike


def trained(folder: Path, seconds: float, say: Callable[[str], None]) -> tuple[Weights, Floats]:
    """Return trained weights and hidden states [U, H] of viewers under them; kept in `folder` for the next time."""
    path = folder / f"trained-{seconds:g}.safetensors"
    if not path.exists():
        say(f"training a model for {seconds:g} simulated seconds")
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.trained", "--seconds", str(seconds), "--out", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = load_file(path)
    hidden: Floats = found.pop("hidden")
    return found, hidden


def main() -> None:
    """Train and save."""
    from benchmarks.closed_loop import ARMS, ClosedLoop, LoopOptions, make_learner
    from model.trainer_cli import quiet_tensorflow
    from streams.config import load_settings
    from streams.core.rebuilding import rebuild

    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    quiet_tensorflow(threads=1)
    settings = load_settings(arms={arm: arm for arm in ARMS})
    learner = make_learner(settings)
    loop = ClosedLoop(settings, LoopOptions(given.seconds), learner)
    loop.run()
    weights = learner.net.export()
    scorer = NumpyScorer(weights, model_config(settings), loop.versions + 1, 0)
    states = loop.partition.states
    rows = states.rows([user for user in states.oldest(0) if user.endswith("@online")])
    rows = rows[states.table["steps"][rows] >= _LEAST_STEPS]
    hidden = rebuild(states, rows, loop.pool, scorer)
    save_file({name: np.ascontiguousarray(value) for name, value in weights.items()} | {"hidden": hidden}, given.out)


if __name__ == "__main__":
    main()
