"""What must have come of the events topic: a plain replay of it through `streams.core`, without Kafka or disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.config import model_config
from model.registry import Registry, initial_version
from streams.codecs import Decoder
from streams.config import Settings
from streams.configured import make_pool, step_config
from streams.core.content import VideoContent
from streams.core.events import Feedback, Slate, Video
from streams.core.ports import Trial
from streams.core.step import Partition
from streams.intake import take_in
from streams.journal import Entry

_video, _content, _slate, _feedback = Decoder(Video), Decoder(VideoContent), Decoder(Slate), Decoder(Feedback)


class Oracle:
    """Replays records; keeps every state, slate and feedback record as bytes.

    What a partition's states rest on beside its events comes from the journal: the model versions and videos that held
    from an offset on. Each partition has a pool of its own, fed up to where the journal says.

    Attributes:
      videos, vectors: records of those topics so far; models: every version that was published whole.
      journal: by partition, entries in the order of their numbers.
      states: by partition, what the store must hold by key.
      slates: by slate id; dead: partition and offset.
      feedback: by impression, revision, offset and whether it is provisional: an outcome after the correction window
        starts anew, also at the very offset that closed the impression.
      poison: event ids whose application ends a worker.
    """

    def __init__(self, settings: Settings, events_id: str) -> None:
        numbers = range(settings.partitions)
        self._settings = settings
        self._pools = {number: make_pool(settings) for number in numbers}
        config = step_config(settings, events_id)
        self._cores = {number: Partition(number, config, self._pools[number]) for number in numbers}
        self.videos: list[Any] = []
        self.vectors: list[Any] = []
        self._taken = dict.fromkeys(numbers, 0)
        self._known = dict.fromkeys(numbers, 0)
        first = initial_version(settings.model_name, model_config(settings))
        self.models = {0: first.scorer()}
        self._registry = Registry(settings.model_name, model_config(settings), kept=1_000)
        self.journal: dict[int, list[Entry]] = {number: [] for number in numbers}
        self.states: dict[int, dict[bytes, bytes]] = {number: {} for number in numbers}
        self.slates: dict[str, bytes] = {}
        self.feedback: dict[tuple[str, int, int, bool], bytes] = {}
        self.dead: set[tuple[int, int]] = set()
        self.poison: frozenset[str] = frozenset()

    def take_models(self, records: Sequence[Any]) -> None:
        """Take records of the models topic."""
        for record in records:
            self._registry.feed(record.key, record.value)
            for number in self._registry.manifests.keys() - self.models.keys():
                if (version := self._registry.version(number)) is not None:
                    self.models[number] = version.scorer()

    def note(self, number: int, entry: Entry) -> None:
        """Take an entry of the journal; it holds against earlier ones from its offset on."""
        kept = self.journal[number]
        while kept and kept[-1].offset >= entry.offset:
            kept.pop()
        kept.append(entry)

    def feed(self, number: int, records: Sequence[Any]) -> None:
        """Replay records of one partition, in order."""
        at = 0
        while at < len(records):
            entry, until = self._holds(number, records[at].offset)
            end = at
            while end < len(records) and end - at < 400 and (until is None or records[end].offset < until):
                end += 1
            self._apply(number, records[at:end], entry)
            at = end

    def _holds(self, number: int, offset: int) -> tuple[Entry, int | None]:
        entries = self.journal[number]
        places = [place for place, entry in enumerate(entries) if entry.offset <= offset]
        assert places, f"the journal of partition {number} says nothing of offset {offset}"
        place = places[-1]
        return entries[place], entries[place + 1].offset if place + 1 < len(entries) else None

    def _apply(self, number: int, records: Sequence[Any], entry: Entry) -> None:
        self._take_videos(number, entry.videos)
        self._take_vectors(number, entry.vectors)
        core, online = self._cores[number], self.models[entry.online]
        frozen = self.models.get(entry.frozen, online)
        intake = take_in(records, self._settings.partitions)
        events = [one for one in intake.events if one[2] is None or one[2].event_id not in self.poison]
        trial = Trial(self.models[entry.trial], entry.share) if entry.trial else None
        effects = core.apply(core.plan(events), lambda arm: frozen if arm == "frozen" else online, trial)
        self.states[number].update(core.states.pack(list(effects.touched)))
        self.slates.update((_slate(value).slate_id, value) for _, value in effects.slate_pairs())
        for _, value in effects.feedback_pairs():
            one = _feedback(value)
            self.feedback[one.impression_id, one.revision, one.offset, one.provisional] = value
        fine = {offset for offset, _, _ in events} | {
            record.offset for record in records if record.value in {stray.value for _, stray in intake.strays}
        }
        self.dead |= {(number, record.offset) for record in records if record.offset not in fine}

    def _take_videos(self, number: int, end: int) -> None:
        pool = self._pools[number]
        at = self._taken[number]
        for record in self.videos[at:]:
            if record.offset >= end:
                break
            if record.value:
                pool.add([_video(record.value)])
            else:
                pool.withdraw(record.key.decode())
            at += 1
        self._taken[number] = at

    def _take_vectors(self, number: int, end: int) -> None:
        found = [record for record in self.vectors[self._known[number] :] if record.offset < end]
        self._known[number] += len(found)
        contents = [_content(record.value) for record in found]
        self._pools[number].note_contents(contents, [record.offset for record in found])
