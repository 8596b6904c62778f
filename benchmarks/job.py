"""The job that every contestant of `bench pipeline` does, stated once: inputs, arithmetic and what is written.

For each event: decode it, advance the user's GRU by it (H=64), score 2,000 videos, take the best 20, and write one
slate, one feedback record and the user's state. `Plain` does it an event at a time, for engines that hand over single
events, or its slates by the batch, for those that have batches; it leaves out what Freshloop does besides
(exploration, cap per author, seen videos, duplicates, impressions).
Imported by the peers, so it needs NumPy, Numba and msgspec only.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log1p
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig
from model.serving import NumpyScorer
from model.weights import initial
from streams.core.behaviour import label_of, mask_of, watch_ratio
from streams.core.best import take_best
from streams.core.events import Event, EventType, Feedback, Slate, Source, Video
from streams.core.hashing import key64
from streams.core.layout import StateShape, blank, fixed_size, row_type
from streams.core.pool import FreshPool
from streams.core.tiles import TILE

USERS, VIDEOS, AUTHORS, PARTITIONS = 5_000, 2_000, 500, 4
HIDDEN, TOP, RECENT, SEEN = 64, 20, 20, 1024
NOW_MS = 1_700_000_000_000
SHAPE = StateShape(HIDDEN, RECENT, SEEN, positions=24)

_AT = {name: offset for name, (_, offset, *_) in (row_type(SHAPE).fields or {}).items()}
_STEPS, _LAST_OFFSET, _LAST_MS = _AT["steps"], _AT["last_offset"], _AT["last_step_ms"]
_COUNTS, _LONG = struct.Struct("<II"), struct.Struct("<q")
_HALVES, _SHORT = struct.Struct("<3e"), struct.Struct("<H")
_ONE = np.ones(1, np.float32)
_NO_KINDS, _NO_THRESHOLD = np.zeros(0, np.int64), np.float32(-np.inf)

decode_event = msgspec.msgpack.Decoder(Event).decode
encode = msgspec.msgpack.Encoder().encode


def make_scorer() -> NumpyScorer:
    """Return version 0 of the default model, which every contestant scores with."""
    config = ModelConfig(head="interaction", hidden_size=HIDDEN, embedding_size=32, seed=1)
    return NumpyScorer(initial(config), config, version=0, trained_through=0)


def make_videos(count: int = VIDEOS, now_ms: int = NOW_MS) -> list[Video]:
    """Return the published videos."""
    return [
        Video(
            video_id=f"v{number}", author_id=f"a{number % AUTHORS}", published_ms=now_ms - number,
            duration_ms=10_000 + number, tags=(f"t{number % 40}",),
        )
        for number in range(count)
    ]  # fmt: skip


def make_pool(scorer: NumpyScorer, videos: list[Video]) -> FreshPool:
    """Return a pool with every video, encoded."""
    pool = FreshPool(16_384, 10**12, 3_600_000)
    pool.add(videos)
    pool.encoded(scorer)
    return pool


def make_events(count: int, users: int = USERS, seed: int = 1, at_ms: int = NOW_MS, name: str = "e") -> list[Event]:
    """Return watch events of about 120 bytes each, users and videos drawn uniformly; `name` begins their ids."""
    rng = np.random.default_rng(seed)
    who, what = rng.integers(users, size=count), rng.integers(VIDEOS, size=count)
    watched = rng.integers(12_000, size=count)
    return [
        Event(
            event_id=f"{name}{number:010d}", user_id=f"u{user}", type=EventType.WATCH,
            event_time_ms=at_ms + number // 20,
            video_id=f"v{video}", watch_ms=watch, source=Source.ORGANIC,
        )
        for number, (user, video, watch) in enumerate(
            zip(who.tolist(), what.tolist(), watched.tolist(), strict=True)
        )
    ]  # fmt: skip


@dataclass
class Output:
    """What one event makes, encoded."""

    slate: bytes
    feedback: bytes
    state: bytes


class Advanced(NamedTuple):
    """What one event makes of its user's state: hidden [H], and encoded the feedback and the state."""

    hidden: NDArray[Any]
    feedback: bytes
    state: bytes


class Waiting(NamedTuple):
    """A slate that is still to be made: for what event, from which hidden state [H]."""

    event: Event
    offset: int
    now_ms: int
    slate_id: str
    hidden: NDArray[Any]


class Plain:
    """The job an event at a time, written for speed: one row through the GRU, the head and a bounded partition."""

    def __init__(self) -> None:
        self.scorer = make_scorer()
        self.pool = make_pool(self.scorer, make_videos())
        weights = self.scorer._weights
        encoded = self.pool.encoded(self.scorer)
        self._kernel, self._recurrent, self._bias = (weights[f"gru.{one}"] for one in ("kernel", "recurrent", "bias"))
        self._user = weights["user.kernel"], weights["user.bias"]
        self._head = weights["head.user"], weights["head.bias"]
        self._vectors = encoded.vectors
        self._keys = np.ascontiguousarray(encoded.keys[: self.pool.size])
        self._ids = self.pool.ids.tolist()
        self._best = Best(self.pool.size)
        self._size = fixed_size(SHAPE)
        self._blank = np.array([blank(SHAPE)]).tobytes()[: self._size]

    def step(self, state: bytes | None, event: Event, offset: int, now_ms: int, slate_id: str) -> Output:
        """Return what an event makes, given the packed state of its user."""
        made = self.advance(state, event, offset, now_ms)
        (best,), (logits,) = self._best.of((self._keys @ self._query(made.hidden))[None])
        slate = self._slate(event, offset, now_ms, slate_id, best, logits)
        return Output(encode(slate), made.feedback, made.state)

    def advance(self, state: bytes | None, event: Event, offset: int, now_ms: int) -> Advanced:
        """Return what an event makes of the packed state of its user, and what is said of it."""
        record = bytearray(state or self._blank)
        steps, seen = _COUNTS.unpack_from(record, _STEPS)
        (last_ms,) = _LONG.unpack_from(record, _LAST_MS)
        slot = self.pool.slot(event.video_id or "")
        gap = event.event_time_ms - last_ms if steps else 0
        duration = int(self.pool.durations_ms[slot])
        inputs = _behaviour(event, duration, gap)
        before = np.frombuffer(record, np.float32, HIDDEN, _AT["hidden"])
        hidden = self._gru(before, self._vectors[slot], inputs)
        del before  # lets the record grow
        self._advance(record, hidden, event, offset, steps, seen, inputs)
        ratio = watch_ratio(event, duration)
        feedback = Feedback(
            impression_id=event.event_id, user_id=event.user_id, video_id=event.video_id or "", revision=0,
            offset=offset, event_time_ms=event.event_time_ms, impression_ms=now_ms, outcome=event.type.value,
            watch_ratio=ratio, label=label_of(ratio, mask_of(event)), behaviour=inputs,
        )  # fmt: skip
        return Advanced(hidden, encode(feedback), bytes(record))

    def slates(self, waiting: Sequence[Waiting]) -> list[bytes]:
        """Return the slates of a batch, in order: one product for 64 of them, as in the limit."""
        found: list[bytes] = []
        for start in range(0, len(waiting), TILE):
            some = waiting[start : start + TILE]
            queries = self.scorer.queries(np.array([one.hidden for one in some]))
            found_slots, logits = self._best.of(queries @ self._keys.T)
            found += [
                encode(self._slate(one.event, one.offset, one.now_ms, one.slate_id, best, scores))
                for one, best, scores in zip(some, found_slots, logits, strict=True)
            ]
        return found

    def _gru(self, hidden: NDArray[Any], vector: NDArray[Any], inputs: tuple[float, ...]) -> NDArray[Any]:
        x = np.concatenate([vector, np.array(inputs, np.float32)])
        outer = x @ self._kernel + self._bias[0]
        inner = hidden @ self._recurrent + self._bias[1]
        both = 2 * HIDDEN
        gates = 1.0 / (1.0 + np.exp(-(outer[:both] + inner[:both])))
        update, reset = gates[:HIDDEN], gates[HIDDEN:]
        candidate = np.tanh(outer[both:] + reset * inner[both:])
        advanced: NDArray[Any] = (update * hidden + (1.0 - update) * candidate).astype(np.float32)
        return advanced

    def _query(self, hidden: NDArray[Any]) -> NDArray[Any]:
        user = np.tanh(hidden @ self._user[0] + self._user[1])
        of_user, bias = self._head
        return np.concatenate([user, of_user @ user + bias, _ONE])

    def _advance(
        self, record: bytearray, hidden: NDArray[Any], event: Event, offset: int, steps: int, seen: int,
        inputs: tuple[float, ...],
    ) -> None:  # fmt: skip
        """Write what changes in the record: header, hidden state, one recent step, one seen video."""
        key, place = key64(event.video_id or ""), steps % RECENT
        _COUNTS.pack_into(record, _STEPS, steps + 1, seen + 1)
        _LONG.pack_into(record, _LAST_OFFSET, offset)
        _LONG.pack_into(record, _LAST_MS, event.event_time_ms)
        at = _AT["hidden"]
        record[at : at + 4 * HIDDEN] = hidden.tobytes()
        _LONG.pack_into(record, _AT["recent_videos"] + 8 * place, key)
        at = _AT["recent_events"] + 6 * place
        record[at : at + 6] = blake2b(event.event_id.encode(), digest_size=6).digest()
        _HALVES.pack_into(record, _AT["recent_numbers"] + 6 * place, inputs[0], inputs[2], inputs[13])
        _SHORT.pack_into(record, _AT["recent_flags"] + 2 * place, int(inputs[1]) | 0b110)
        if seen % SHAPE.chunk == 0:
            del record[self._size :]
        record += (key & 0xFFFF_FFFF).to_bytes(4, "little")

    def _slate(
        self, event: Event, offset: int, now_ms: int, slate_id: str, best: NDArray[Any], logits: NDArray[Any]
    ) -> Slate:
        scores = np.round(1.0 / (1.0 + np.exp(-logits.astype(np.float64))), 6).tolist()
        ids = self._ids
        return Slate(
            slate_id=slate_id, user_id=event.user_id, event_id=event.event_id, event_time_ms=event.event_time_ms,
            made_ms=now_ms, state_offset=offset, model_version=0, trained_through=0, youngest_ms=NOW_MS,
            oldest_ms=NOW_MS, candidates=VIDEOS, video_ids=[ids[slot] for slot in best.tolist()], scores=scores,
            explored=(3, 11), explored_propensity=0.05, propensity=0.95,
        )  # fmt: skip


def _behaviour(event: Event, duration_ms: int, gap_ms: int) -> tuple[float, ...]:
    """Return `behaviour` of a plain watch event; that function is made for batches and slow for one."""
    ratio = watch_ratio(event, duration_ms)
    return (
        min(ratio, 2.0) / 2.0, float(ratio >= 0.95), log1p((event.watch_ms or 0) / 1000.0) / 5.0, 1.0, 1.0,
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, log1p(max(gap_ms, 0) / 1000.0) / 15.0, 0.0, 0.0, 0.0,
    )  # fmt: skip


class Best:
    """The best 20 videos of each row of logits, as a worker finds them, and nothing filtered."""

    def __init__(self, count: int) -> None:
        self._bits = np.full((TILE, (count + 7) // 8), 255, np.uint8)
        self._authors, self._minimum = np.zeros(count, np.int64), np.full(TILE, TOP)

    def of(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return slots and logits [R, 20] of logits [R, N] of at most 64 rows, best first."""
        rows = len(logits)
        slots, values = np.empty((rows, TOP), np.int64), np.empty((rows, TOP), np.float32)
        take_best(
            logits, self._bits[:rows], self._authors, TOP, _NO_KINDS, _NO_KINDS, _NO_THRESHOLD, self._minimum[:rows],
            slots, values, np.empty(rows, np.int64),
        )  # fmt: skip
        return slots, values
