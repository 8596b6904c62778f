"""The fresh pool: every video that can be recommended, in dense slots ready for one matrix product.

A slot keeps its video's vector after the video expires or is withdrawn, because hidden states are rebuilt from it; the
slot is given away only when the pool is full, the longest ended first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.core.census import Census, Counted
from streams.core.content import Contents, VideoContent
from streams.core.eligibility import CLOSED, KINDS, NEVER, PLACES, Ages, Change, Windows, lasting, window_of
from streams.core.events import Video
from streams.core.hashing import key64
from streams.core.imagined import imagined_queries
from streams.core.ports import Floats, Index, MakeIndex, Scorer
from streams.core.slots import Slots

_MAX_EXPONENT = 256.0  # of the forward decay; far from the end of float64
_BLOCK = 16_384  # videos encoded at once
_GROWN = 4  # an index is made anew once the pool has so many times the videos it was laid out for


@dataclass(frozen=True)
class Indexing:
    """From how many videos on an index replaces the product with every key, and what makes one."""

    start: int
    make: MakeIndex


@dataclass
class Encoded:
    """Videos as one scorer sees them: vectors [S, E] and keys [S, D] by slot; in a large pool an index of the keys.

    Attributes:
      laid_out: slots in use when the index was made.
    """

    scorer: Scorer
    vectors: Floats
    keys: Floats
    index: Index | None = None
    laid_out: int = 0


class FreshPool:
    """Slots [S] of videos, with columns by slot.

    Args:
      fresh_ms: how long items are fresh; one number for every kind.

    Attributes:
      windows: when the item of each slot may be recommended; `published_ms` int64 [S].
      ids: object [S], video ids; `keys` int64 [S], their `key64`.
      authors: int64 [S], key of the author.
      durations_ms: int64 [S], 0 where not known; `kinds` int64 [S], place of the item's `Kind` in that enumeration.
      popularity: float64 [S], decayed reward up to a common factor (forward decay, so that adding is one operation).
      since: int64 [S], place in the `videos` topic of what filled the slot first.
      content_since: int64 [S], place in the `vectors` topic of the newest content of its video; -1 without one.
      size: slots in use; everything beyond is free. Within `as_of` those that were in use then.
      changes: how often a slot came to have another author; `changed` int64 [S], which of these was its last.
      twins: slots whose keys share their low 32 bits, by those bits; empty but by rare chance.
    """

    def __init__(
        self, capacity: int, fresh_ms: int | Ages, half_life_ms: int, indexing: Indexing | None = None
    ) -> None:
        self.capacity = capacity
        self._ages = Ages.same(fresh_ms) if isinstance(fresh_ms, int) else fresh_ms
        self._census = Census(self._ages)
        self._indexing = indexing
        self._ended_ms = 0  # what expired before is in no index
        self._half_life_ms = half_life_ms
        self.size = self._used = 0
        self._then: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._contents_before = NEVER
        self._contents = Contents(capacity)
        self.content_since = np.full(capacity, -1, np.int64)
        self.since = np.full(capacity, NEVER, np.int64)
        self.videos: list[Video | None] = [None] * capacity
        self.published_ms = np.zeros(capacity, np.int64)
        self.windows = Windows(capacity)
        self._slots = Slots(capacity)
        self.ids, self.keys, self.twins = self._slots.ids, self._slots.keys, self._slots.twins
        self.authors = np.zeros(capacity, np.int64)
        self.durations_ms = np.zeros(capacity, np.int64)
        self.kinds = np.zeros(capacity, np.int64)
        self.changes = 0
        self.changed = np.zeros(capacity, np.int64)
        self.popularity = np.zeros(capacity, np.float64)
        self._popularity_base_ms = 0
        self._encoded: dict[int, Encoded] = {}

    @property
    def used(self) -> int:
        """Slots in use now, also within `as_of`."""
        return self._used

    def slot(self, video_id: str) -> int:
        """Return the slot of a video, -1 when it is not known."""
        slot = self._slots.of_id.get(video_id, -1)
        return slot if slot < self.size else -1

    def slots(self, video_ids: Iterable[str | None]) -> NDArray[np.int64]:
        """Return slots of videos, -1 where not known."""
        get = self._slots.of_id.get
        slots = np.array([get(video_id, -1) for video_id in video_ids], np.int64)  # type: ignore[arg-type]  # None is absent
        return self._visible(slots)

    def slots_of_keys(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return slots of video keys, same shape, -1 where not known."""
        get = self._slots.of_key.get
        return self._visible(np.array([get(key, -1) for key in keys.ravel().tolist()], np.int64)).reshape(keys.shape)

    def _visible(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.size < self._used:
            slots[slots >= self.size] = -1
        return slots

    @contextmanager
    def as_of(self, videos: int, vectors: int = NEVER) -> Iterator[None]:
        """Look at the pool as it was before these records of the topics of those names; nothing may be added meanwhile.

        Exact in what may be recommended, as long as fewer than 65,536 windows changed since. A video published again
        shows its new facts, the owner of a slot that was given away is gone, and of a video's contents the newest few
        are remembered.
        """
        self._then = self.windows.as_of(videos)
        self.size = int(np.searchsorted(self.since[: self._used], videos))
        changed = np.flatnonzero(self.content_since[: self._used] >= vectors).tolist()
        self._contents_before = vectors
        try:
            self._encode_again(changed)
            yield
        finally:
            self._then, self._contents_before, self.size = None, NEVER, self._used
            self._encode_again(changed)

    def slots_of_low(self, low: int) -> Sequence[int]:
        """Return the slots of videos whose key has these low 32 bits; nearly always one or none."""
        return self._slots.of_low(low)

    def add(self, videos: Sequence[Video], offsets: Sequence[int] = ()) -> dict[int, int]:
        """Add or replace videos, heard of when they were published; return as `take` does.

        Args:
          offsets: of their records in the `videos` topic, rising; none where `as_of` is not used.
        """
        return self.take(
            [
                Change(video.video_id, video, offsets[place] if offsets else 0, video.published_ms)
                for place, video in enumerate(videos)
            ]
        )

    def note_contents(self, contents: Sequence[VideoContent], offsets: Sequence[int]) -> list[int]:
        """Take in what is known of videos' media; return the slots of those that had no content before.

        Args:
          offsets: of the records in the `vectors` topic, rising. A video may come after its content.
        """
        slots: dict[int, None] = {}
        first: list[int] = []
        for offset, content in zip(offsets, contents, strict=True):
            self._contents.add(offset, content, self._slots.of_id)
            slot = self._slots.of_id.get(content.video_id, -1)
            if slot >= 0:
                if self.content_since[slot] < 0:
                    first.append(slot)
                self.content_since[slot] = offset
                slots[slot] = None
        self._encode_again(list(slots))
        return first

    def contents(self, slots: Iterable[int]) -> list[VideoContent | None]:
        """Return what is known of the media of the videos in these slots."""
        return [self._contents.get(self.ids[slot], self._contents_before) for slot in slots]

    def withdraw(self, video_id: str, offset: int = 0) -> bool:
        """Take a video out of every later slate; return whether it was there.

        Args:
          offset: of the record that says so, in the `videos` topic.
        """
        there = self.slot(video_id) >= 0
        self.take([Change(video_id, None, offset)])
        return there

    def take(self, changes: Sequence[Change]) -> dict[int, int]:
        """Add, replace and withdraw items, in the order of their records.

        Returns: the slots that were given, with the key of their former owner, 0 for none.
        """
        given: dict[int, int] = {}
        before: dict[int, Counted | None] = {}
        anew: dict[int, None] = {}
        for change in changes:
            slot, video, was, window = self._slots.of_id.get(change.video_id, -1), change.video, None, CLOSED
            if slot < 0 and video is None:
                continue
            if slot < 0:
                free = self._used < self.capacity
                slot = self._used if free else int(np.argmin(self.windows.stays_ms))
                if slot not in before:
                    before[slot] = None if free else self._counted(slot)
                given.setdefault(slot, 0 if free else int(self.keys[slot]))
                was = None if free else CLOSED  # before it came, a look back must not find it in another's place
                self._own(slot, change)
            else:
                was = self.windows.of(slot)
                if slot not in before:
                    before[slot] = self._counted(slot)
            if video is not None:
                window = window_of(video, change.heard_ms, self._ages)
                if self._describe(slot, video):
                    anew[slot] = None
            self.windows.set(slot, window, change.offset, was)
        self._recount(before)
        self._renew(list(anew), before)
        return given

    def _recount(self, before: Mapping[int, Counted | None]) -> None:
        """Tell the census what has become of slots."""
        changed = [(was, now) for slot, was in before.items() if (now := self._counted(slot)) != was]
        self._census.change([was for was, _ in changed if was], [now for _, now in changed if now])

    def expire(self, now_ms: int) -> None:
        """Take what has expired at `now_ms`, a moment that every partition has passed, out of the indexes."""
        ends = self.windows.ends_ms[: self._used]
        self._unindex(np.flatnonzero((ends > self._ended_ms) & (ends <= now_ms)))
        self._ended_ms = max(self._ended_ms, now_ms)

    def is_closed(self, video_id: str) -> bool:
        """Tell whether an item is not known, withdrawn, sold out or ended: closed whatever the time."""
        slot = self.slot(video_id)
        return slot < 0 or not self.windows.ends_ms[slot]

    def fresh(self, now_ms: int) -> NDArray[np.bool_]:
        """Return which slots [size] may be recommended at `now_ms`."""
        return self.windows.open(self.size, now_ms, self._then)

    def by_kind(self, now_ms: int) -> dict[str, int]:
        """Return how many items of each kind may be recommended at `now_ms`."""
        counts = np.bincount(self.kinds[: self.size][self.fresh(now_ms)], minlength=len(KINDS)).tolist()
        return {kind.value: count for kind, count in zip(KINDS, counts, strict=True)}

    def count(self, now_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many videos may be recommended at moments [B]."""
        return self.ages(now_ms)[2]

    def ages(self, now_ms: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Return publication times of the youngest and oldest candidate, and how many there are, at moments [B].

        Without candidates, the youngest is 0 and the oldest the moment itself, which is also the latest it can be.
        """
        if self._then is None:
            return self._census.ages(now_ms)
        moments, which = np.unique(now_ms, return_inverse=True)
        some = [self.published_ms[: self.size][self.fresh(moment)] for moment in moments.tolist()]
        rows = [
            (times.max(initial=0), times.min(initial=moment), len(times))
            for times, moment in zip(some, moments.tolist(), strict=True)
        ]
        table = np.array(rows, np.int64).reshape(-1, 3)[which]
        return table[:, 0], table[:, 1], table[:, 2]

    def index(self, scorer: Scorer) -> Index | None:
        """Return the index of a scorer's keys, where there is one; it knows nothing of earlier moments."""
        return self.encoded(scorer).index if self._then is None else None

    def encoded(self, scorer: Scorer) -> Encoded:
        """Return the pool as `scorer` sees it; the first call for a version encodes every video."""
        found = self._encoded.get(scorer.version)
        if found is None or found.scorer is not scorer:
            keys_size = scorer.queries(np.zeros((1, scorer.hidden_size), np.float32)).shape[1]
            found = Encoded(
                scorer,
                np.zeros((self.capacity, scorer.embedding_size), np.float32),
                np.zeros((self.capacity, keys_size), np.float32),
            )
            self._encode(found, range(self._used))
            self._encoded[scorer.version] = found
        return found

    def forget_scorers(self, versions: set[int]) -> None:
        """Drop encodings of all versions but those given."""
        self._encoded = {version: kept for version, kept in self._encoded.items() if version in versions}

    def reward(self, video_id: str, amount: float, at_ms: int) -> None:
        """Add a reward seen at `at_ms` to the decayed popularity of a video; unknown videos are ignored."""
        slot = self.slot(video_id)
        if slot < 0:
            return
        exponent = (at_ms - self._popularity_base_ms) / self._half_life_ms
        if exponent > _MAX_EXPONENT:
            self.popularity *= 2.0**-exponent
            self._popularity_base_ms, exponent = at_ms, 0.0
        self.popularity[slot] += amount * 2.0 ** max(exponent, -_MAX_EXPONENT)

    def _counted(self, slot: int) -> Counted | None:
        """Return what the census knows of a slot; nothing while its item is closed."""
        window = self.windows.of(slot)
        if not window.ends_ms:
            return None
        return Counted(slot, int(self.kinds[slot]), int(self.published_ms[slot]), window)

    def _own(self, slot: int, change: Change) -> None:
        """Give a slot to an item; its former owner goes."""
        if slot < self._used:
            self._slots.take(slot)
            self.popularity[slot] = 0.0
        else:
            self.size = self._used = slot + 1
            self.since[slot] = change.offset
        self.videos[slot] = None
        self._slots.give(slot, change.video_id)

    def _describe(self, slot: int, video: Video) -> bool:
        """Note the facts of a slot's item; return whether they are others than before, so that it is encoded anew."""
        before, author = self.videos[slot], key64(video.author_id)
        self.videos[slot] = video
        if author != self.authors[slot]:
            self.changes += 1
            self.authors[slot], self.changed[slot] = author, self.changes
        self.durations_ms[slot], self.kinds[slot] = video.duration_ms, PLACES[video.kind]
        self.published_ms[slot] = video.published_ms
        self.content_since[slot] = self._contents.since(video.video_id)
        return before is None or lasting(before) != lasting(video)

    def _renew(self, anew: list[int], before: Mapping[int, Counted | None]) -> None:
        """Encode slots anew; of those that are touched, what can still be open is in the indexes, and nothing else."""
        some = np.array(list(before), np.int64)
        was_out = np.array([one is None or one.window.ends_ms <= self._ended_ms for one in before.values()], bool)
        over = self.windows.ends_ms[some] <= self._ended_ms
        back = some[was_out & ~over & ~np.isin(some, anew)]
        for encoded in self._encoded.values():
            self._encode(encoded, anew)
            if encoded.index is not None and len(back):
                encoded.index.put(back, encoded.keys[back])
        self._unindex(some[over])

    def _encode(self, encoded: Encoded, slots: Sequence[int]) -> None:
        for start in range(0, len(slots), _BLOCK):
            some = slots[start : start + _BLOCK]
            index = np.fromiter(some, np.int64, len(some))
            self._encode_block(encoded, index)
        if slots and self._indexing is not None and self._used >= self._indexing.start:
            if encoded.index is None or self._used >= _GROWN * encoded.laid_out:
                self._lay_out(encoded, self._indexing)
            else:
                changed = np.fromiter(slots, np.int64, len(slots))
                encoded.index.put(changed, encoded.keys[changed])

    def _encode_block(self, encoded: Encoded, slots: NDArray[np.int64]) -> None:
        videos = [video for slot in slots.tolist() if (video := self.videos[slot]) is not None]
        known = self.contents(slots.tolist()) if len(self._contents) else ()
        encoded.vectors[slots], encoded.keys[slots] = encoded.scorer.encode(videos, known)

    def _encode_again(self, slots: Sequence[int]) -> None:
        """Encode videos whose content changed; those that an index leaves out stay out."""
        for start in range(0, len(slots), _BLOCK):
            some = np.array(slots[start : start + _BLOCK], np.int64)
            for encoded in self._encoded.values():
                self._encode_block(encoded, some)
                if encoded.index is not None and self._then is None:
                    there = some[self.windows.ends_ms[some] > self._ended_ms]
                    encoded.index.put(there, encoded.keys[there])

    def _lay_out(self, encoded: Encoded, indexing: Indexing) -> None:
        slots = np.flatnonzero(self.windows.ends_ms[: self._used] > self._ended_ms)
        if not len(slots):
            return
        asked = imagined_queries(encoded.scorer, encoded.vectors[: self._used])
        encoded.index, encoded.laid_out = indexing.make(asked, slots, encoded.keys[slots]), self._used

    def _unindex(self, slots: NDArray[np.int64]) -> None:
        if len(slots):
            for encoded in self._encoded.values():
                if encoded.index is not None:
                    encoded.index.drop(slots)
