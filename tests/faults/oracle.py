"""What must have come of the events topic: a plain replay of it through `streams.core`, without Kafka or disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.config import model_config
from model.registry import initial_version
from streams.codecs import Decoder
from streams.config import Settings
from streams.core.events import Feedback, Slate, Video
from streams.core.step import Partition
from streams.intake import take_in
from streams.worker import make_pool, step_config

_video, _slate, _feedback = Decoder(Video), Decoder(Slate), Decoder(Feedback)


class Oracle:
    """Replays records; keeps every state, slate and feedback record as bytes.

    Attributes:
      states: by partition, what the store must hold by key.
      slates: by slate id; dead: partition and offset.
      feedback: by impression, revision and offset (an impression shown after its correction window starts anew).
      next_offset: by partition, where the replay goes on.
    """

    def __init__(self, settings: Settings, events_id: str, videos: Sequence[Any]) -> None:
        self.pool = make_pool(settings)
        self.pool.add([_video(record.value) for record in videos])
        scorer = initial_version(settings.model_name, model_config(settings)).scorer()
        self._scorers = lambda arm: scorer
        config = step_config(settings, events_id)
        numbers = range(settings.partitions)
        self._cores = {number: Partition(number, config, self.pool) for number in numbers}
        self.states: dict[int, dict[bytes, bytes]] = {number: {} for number in numbers}
        self.next_offset = dict.fromkeys(numbers, 0)
        self.slates: dict[str, bytes] = {}
        self.feedback: dict[tuple[str, int, int], bytes] = {}
        self.dead: set[tuple[int, int]] = set()

    def feed(self, number: int, records: Sequence[Any]) -> None:
        """Replay records of one partition, in order."""
        for start in range(0, len(records), 400):
            chunk = records[start : start + 400]
            intake = take_in(chunk)
            core = self._cores[number]
            effects = core.apply(core.plan(intake.events), self._scorers)
            self.states[number].update(core.states.pack(list(effects.touched)))
            self.slates.update((_slate(value).slate_id, value) for _, value in effects.slate_pairs())
            for _, value in effects.feedback_pairs():
                one = _feedback(value)
                self.feedback[one.impression_id, one.revision, one.offset] = value
            applied = {offset for offset, _, _ in intake.events}
            self.dead |= {(number, record.offset) for record in chunk if record.offset not in applied}
            self.next_offset[number] = chunk[-1].offset + 1
