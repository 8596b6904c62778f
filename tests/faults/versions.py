"""Scenarios about model versions: swapped under load, cut short, unsound; and an event that nothing survives."""

from __future__ import annotations

import pickle
import random
import time
from dataclasses import replace

import numpy as np

from model.config import ModelConfig, model_config
from model.manifest import manifest_key
from model.publish import Piece, records
from model.weights import to_bytes
from streams.core.layout import header_of
from streams.failpoints import POINTS
from tests.fakes import event
from tests.faults.outcome import Tally
from tests.faults.rows import Plan, Row
from tests.faults.world import VIDEOS, World
from tests.versions import NAME, grown, manifest, pieces, serve

KILLS = ("slates-published", "journal-written", "changelog-published")


def swaps(here: World, plan: Plan, row: Row) -> Tally:
    """Versions and videos come and go under load, workers are killed; states of three versions are alive."""
    rng = random.Random(plan.seed)
    here.load.arms = ("", "@frozen")
    most = 0
    for number in range(plan.rounds):
        here.load.only = (number % 3, 3)  # the others' states stay those of earlier versions
        here.start(mutant=here.mutant)
        here.await_ready()
        for part in range(4):
            here.load.send(plan.events // 5)
            if part == 1:
                here.publish_model(2 * number + 1)
            at = VIDEOS + 10 * number + 2 * part
            here.publish_videos((at, at + 1), withdrawn=(rng.randrange(VIDEOS),))
        here.kill()
        here.load.send(plan.events // 5)
        here.start(failpoint=f"{KILLS[number % 3]}:{1 + number % 2}", mutant=here.mutant)
        here.publish_videos((at + 2,))
        here.await_end()
        here.publish_model(2 * number + 2)  # what was published under the version before comes out as it was
        here.publish_videos((at + 3,), withdrawn=(rng.randrange(VIDEOS),))
        if number % 2:
            here.wipe()
        most = max(most, len(_alive(here)))
    here.load.only = (0, 1)
    found = here.settle()
    row.note = f"states of up to {most} versions at a time"
    row.differs += most < 3 and plan.rounds >= 3
    return found + Tally(differs=row.differs)


def _alive(here: World) -> set[int]:
    """Return the model versions of the states as the changelog has them."""
    here.outcome.read()
    found = [
        header_of(value)
        for records in here.outcome.changelog.values()
        for key, value in records.items()
        if key[:1] == b"u"
    ]
    return {head.model_version for head in found if head.steps}


def poison(here: World, plan: Plan, row: Row) -> Tally:
    """Applying one event ends the process; it is found by halves and goes to dead letters, and nothing else does."""
    here.mutant = "poison"
    for number in range(plan.rounds):
        here.load.send(plan.events // 2)
        bad = event(f"u{number}", number=number, at=10_000 + number, event_id=f"poison-{number}")
        here.outcome.oracle.poison |= {bad.event_id}
        here.load.send_one(bad)
        here.load.send(plan.events // 2)
        here.start(mutant="poison")
        here.await_ready()
        row.lost += not here.drain(240)
        here.stop()
    row.note, here.deaths = f"{here.deaths} ends until {plan.rounds} events were found", 0
    return here.settle() + Tally(lost=row.lost)


def half_versions(here: World, plan: Plan, row: Row) -> Tally:
    """What is no sound and newer version is refused and counted, and the one before it serves on."""
    here.start()
    here.await_ready()
    here.publish_model(1)
    config = model_config(here.settings)
    kinds = list(_unsound(config).items())
    for number, (kind, sent) in enumerate(kinds):
        before = here.metric("freshloop_models_refused_total")
        here.send_models(sent)
        here.load.send(max(plan.rounds * plan.events // len(kinds), 10))
        drained = here.drain()
        refused = here.metric("freshloop_models_refused_total") - before
        serving = here.metric("freshloop_model_version")
        if not (drained and refused >= 1 and serving == 1.0):
            print(f"{kind}: drained {drained}, refused {refused}, version {serving} serves")
            row.differs += 1
        if number % 3 == 2:
            here.kill()
            here.start()
            here.await_ready()
    here.stop()
    row.rounds, row.note = len(kinds), f"{len(kinds)} kinds of unsound versions"
    return here.settle() + Tally(differs=row.differs)


def _unsound(config: ModelConfig) -> dict[str, list[Piece]]:
    nan = grown(config, 2)
    nan["user.bias"][0] = np.nan
    whole = pieces(2, config)
    other = pieces(3, config)
    named = lambda version, epoch: serve(version, epoch)  # noqa: E731
    return {
        "no manifest": [*whole[:-1], named(2, 2)],
        "no chunk": [replace(pieces(4, config)[-1]), named(4, 3)],
        "chunks of two versions": [replace(other[0], key=pieces(5, config)[0].key), pieces(5, config)[-1], named(5, 4)],
        "not a number": [*records(manifest(6, config), to_bytes(nan)), named(6, 5)],
        "wrong shape": [*pieces(7, ModelConfig(hidden_size=8, embedding_size=4, category_size=3)), named(7, 6)],
        "a pickle": [*records(manifest(8, config), pickle.dumps({"a": 1})), named(8, 7)],
        "no weights": [*records(manifest(9, config), b"not safetensors at all"), named(9, 8)],
        "an older epoch": [named(0, 2)],
        "a path for a name": [Piece(manifest_key(NAME, 10), pieces(10, config, name="../../etc/passwd")[-1].value)],
        "a manifest cut short": [Piece(manifest_key(NAME, 11), pieces(11, config)[-1].value[:40])],
    }


def trainer_killed(here: World, plan: Plan, row: Row) -> Tally:
    """The trainer is killed while it trains and while it publishes; what it left half never serves."""
    rng = random.Random(plan.seed)
    here.start()
    here.await_ready()
    for number in range(plan.rounds):
        here.load.send(plan.events // 2)
        here.start_trainer()
        until = here.metric("freshloop_model_swaps_total") + (number % 2)
        deadline = time.monotonic() + 60
        while here.metric("freshloop_model_swaps_total") < until and time.monotonic() < deadline:
            here.load.send(100)
        here.load.send(plan.events // 2)
        time.sleep(6.0 * (number == 0) + rng.uniform(0.0, 4.0))
        here.kill("trainer")
        row.lost += not here.drain()
    here.stop()
    found = here.settle()
    made = {entry.online for entries in here.outcome.oracle.journal.values() for entry in entries}
    row.note = f"{len(here.outcome.oracle.models) - 1} whole versions, {len(made)} served at last count"
    return found + Tally(lost=row.lost)


assert all(point in POINTS for point in KILLS)
