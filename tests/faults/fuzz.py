"""`make fuzz`: coverage-guided fuzzing of decoders and validators, the long form of tests/property/test_intake.py.

What may come out is a record, or a refusal; anything else is a crash, and libFuzzer writes down the input that made it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import atheris

with atheris.instrument_imports(include=["streams", "model"]):
    from model.registry import Registry
    from streams.codecs import BadRecord, Decoder
    from streams.core.events import Event, Feedback, Slate, Video
    from streams.core.step import Partition
    from streams.intake import take_in
from tests.fakes import FakeScorer
from tests.property.test_batch_cuts import CONFIG, make_pool
from tests.property.test_intake import AS_JSON, GOOD
from tests.versions import NAME, SMALL, pieces, serve

DECODERS = [Decoder(kind) for kind in (Event, Video, Slate, Feedback)]
SCORER = FakeScorer()
REST = (f"{NAME}/1/manifest", f"{NAME}/1/chunk/0", f"{NAME}/current", f"{NAME}/1/chunk/-1", "x/../y")


def one(data: bytes) -> None:
    """Give some bytes to everything that reads bytes of others."""
    for decode in DECODERS:
        with suppress(BadRecord):
            decode(data)
    key = data[:1] if data[:1] != b"\x00" else None
    records = [
        SimpleNamespace(topic="events", partition=0, offset=at, timestamp=at, key=key_, value=value, headers=())
        for at, (key_, value) in enumerate(((key, data), (b"u", data), (b"u", GOOD), (b"u", AS_JSON)))
    ]
    intake = take_in(records)
    assert len(intake.events) + len(intake.dead) == len(records)
    core = Partition(0, CONFIG, make_pool())
    effects = core.apply(core.plan(intake.events), lambda arm: SCORER)
    core.states.pack(list(effects.touched))
    registry = Registry(NAME, SMALL)
    for rest in REST:
        registry.feed(rest.encode(), data)
    registry.feed(data[:64], data)
    assert registry.current() is None


def seeds(folder: Path) -> None:
    """Begin with what is right, which the fuzzer then spoils."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate((GOOD, AS_JSON, *(piece.value for piece in [*pieces(1), serve(1, 1)]))):
        (folder / f"seed-{number}").write_bytes(value)


if __name__ == "__main__":
    seeds(Path(sys.argv[-1]))
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
