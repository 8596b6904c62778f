"""The plain GRU on click sessions: ids alone, learned once, nothing else in the ranking. To be held against GRU4Rec.

The protocol is that of the official one (hidasib/GRU4Rec_PyTorch_Official, `run.py -e conservative`): clicks on items
that the training file does not have are taken out, the second and later of what is left are ranked among all items, and
ties count against. Beside it stand the figures over all second and later clicks, an unknown item being a miss.

    python -m benchmarks.gru_parity --seeds 1,2
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from model.datasets import Dataset, Log
from model.evaluate import prequential, seen_before
from model.evaluate_cli import Format, known
from model.inputs import Exposure, Request, exposures
from model.metrics import mrr_gains, recall_gains
from model.sequence import SequenceConfig, SequenceStates, initial_weights
from streams.clock import Clock
from streams.core.ports import Floats
from streams.core.signals import History

#: What differs from model/evaluate.toml: the correction by popularity, as nothing else here knows it; no outcomes.
PLAIN = SequenceConfig(units=100, steps=15, epochs=10, logq=1.0, view_weight=0.0, negatives=2048)


class Plain:
    """The GRU alone; after the warm-up only users' states advance."""

    names: tuple[str, ...] = ("gru",)

    def __init__(self, config: SequenceConfig, data: Dataset, seed: int) -> None:
        from model.sequence_training import SequenceTrainer  # late: TensorFlow takes seconds

        self.histories: dict[int, History] = defaultdict(History)
        for event in exposures(data.warm):
            self.histories[event.user].add(event.item, True, event.time_ms)
        trainer = SequenceTrainer(initial_weights(data.catalogue, config.units, seed), config, seed)
        self.loss = trainer.warm(self.histories)
        self.states = SequenceStates(trainer.export(), config)

    def prepare(self, users: Iterable[int]) -> None:
        """Bring the states of users up to date in one batch."""
        self.states.refresh(users, self.histories)

    def scores(self, request: Request) -> Mapping[str, Floats]:
        """Return the scores [N] of all items."""
        return {"gru": self.states.scores(request.user, self.histories.get(request.user))}

    def predict(self, event: Exposure) -> Mapping[str, float]:
        """Predict no outcome."""
        return {}

    def observe(self, event: Exposure) -> None:
        """Advance the user's state."""
        self.histories[event.user].add(event.item, True, event.time_ms)
        self.states.advance(event.user, event.item, True)


def without_unknown(log: Log, items: int) -> Log:
    """Return a log without the items from `items` on; the second and later clicks of what is left are targets."""
    left = log.take(log.item < items)
    _, first = np.unique(left.user, return_index=True)
    target = np.ones(len(left), bool)
    target[first] = False
    return replace(left, target=target)


def run(data: Dataset, config: SequenceConfig, seed: int) -> dict[str, Any]:
    """Return Recall@20 and MRR@20 by the official protocol, and over all targets."""
    clock = Clock()
    began = clock.monotonic()
    model = Plain(config, data, seed)
    learned = clock.monotonic() - began
    log = data.streams[0][1]
    ranks = prequential(model, without_unknown(log, data.catalogue), seen_before(data)).ranks["gru"]
    every = int(log.target.sum())
    recall, mrr = recall_gains(ranks), mrr_gains(ranks)
    return {
        "seed": seed, "targets": len(ranks), "recall_at_20": round(float(recall.mean()), 4),
        "mrr_at_20": round(float(mrr.mean()), 4), "all_targets": every,
        "recall_at_20_of_all": round(float(recall.sum()) / every, 4),
        "mrr_at_20_of_all": round(float(mrr.sum()) / every, 4), "loss": round(model.loss, 4),
        "learning_s": round(learned, 1),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run seeds one after another; a line of JSON for each."""
    from model.trainer_cli import quiet_tensorflow

    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--set", default="{}", help="JSON object of settings in place of the plain variant's")
    given = parser.parse_args(arguments)
    quiet_tensorflow()
    config = replace(PLAIN, **json.loads(given.set))
    data = known(Format.SESSIONS, None, None, [])
    for seed in map(int, given.seeds.split(",")):
        print(json.dumps(run(data, config, seed)), flush=True)


if __name__ == "__main__":
    main()
