"""Ingest: videos in, content vectors out. A process of its own, so that no user's event ever waits for a clip.

It is restart-safe without an offset of its own: what the `vectors` topic lacks is what is to be done.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from model.content.decoder import Decoder
from model.content.encoder import Content, ContentEncoder
from model.content.ingest_metrics import IngestMetrics
from model.content.media import BadMedia
from model.content.todo import Task, Todo
from streams.clock import Clock
from streams.codecs import BadRecord, encode
from streams.codecs import Decoder as RecordDecoder
from streams.config import Settings
from streams.core.content import VideoContent, encoded_half
from streams.core.events import Video
from streams.core.hashing import key64
from streams.letter_parts import letter_parts
from streams.security import kafka_options
from streams.topics import Topics

log = logging.getLogger("freshloop.ingest")

PAUSES_S = (5.0, 30.0, 120.0)  # before media is looked for again that may still come
MAY_COME = frozenset({"missing", "unreachable"})
ACK_S = 30.0
_IDLE_S = 0.2
_decode_video, _decode_content = RecordDecoder(Video), RecordDecoder(VideoContent)


def media_of(video: Video) -> str | bytes | None:
    """Return where a video's media is: a path, an address, the bytes of a `data:` address, or None.

    Raises:
      BadMedia: a `data:` address that is none.
    """
    if not video.media.startswith("data:"):
        return video.media or None
    head, comma, body = video.media.partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError("it is not base64")
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadMedia("not-media", f"a data address that cannot be read: {error}") from None


class Vectoriser:
    """Makes the vectors of a video, or finds those of the same media.

    Args:
      version: of the content model.
      cache: by the hash of media, vectors of that version.
    """

    def __init__(self, encoder: ContentEncoder, decoder: Decoder, version: str, cache: dict[str, VideoContent]) -> None:
        self._encoder, self._decoder, self._version, self._cache = encoder, decoder, version, cache

    def __call__(self, task: Task) -> tuple[VideoContent, str, str]:
        """Return the record, what came of it (`embedded`, `cached`, `text` or `failed`), and a detail of a failure."""
        video, digest, content, result = task.video, "", None, "text"
        try:
            media = media_of(video)
            if media is not None:
                digest = self._decoder.digest(media)
                if (found := self._cache.get(digest)) is not None:
                    return self._same(task, found), "cached", ""
                content, result = self._encoder(media, video.title), "embedded"
        except BadMedia as bad:
            content = Content(None, None, self._encoder.of_text(video.title), bad.reason, bad.detail)
        content = content or self._encoder(None, video.title)
        result = "failed" if content.reason else result
        made = VideoContent(
            video_id=video.video_id, version=self._version, videos_offset=task.record.offset, media_hash=digest,
            frames=encoded_half(content.frames), sound=encoded_half(content.sound), text=encoded_half(content.text),
            reason=content.reason,
        )  # fmt: skip
        return made, result, content.detail

    def _same(self, task: Task, found: VideoContent) -> VideoContent:
        return VideoContent(
            video_id=task.video.video_id, version=self._version, videos_offset=task.record.offset,
            media_hash=found.media_hash, frames=found.frames, sound=found.sound,
            text=encoded_half(self._encoder.of_text(task.video.title)),
        )  # fmt: skip


class Ingest:
    """One ingest process.

    Args:
      part: which of how many processes this one is, from 0; each takes its share of the videos.
      progress: told now and then what was done and what waits.
    """

    def __init__(
        self, settings: Settings, vectorise: Vectoriser, todo: Todo, metrics: IngestMetrics, clock: Clock,
        part: tuple[int, int] = (0, 1), progress: Callable[[dict[str, int]], None] = lambda found: None,
    ) -> None:  # fmt: skip
        self._vectorise, self._todo, self._metrics, self._clock = vectorise, todo, metrics, clock
        self._topics, self._part, self._progress = Topics(settings), part, progress
        self._done: dict[str, int] = dict.fromkeys(("embedded", "cached", "text", "failed"), 0)
        self._consumer = KafkaConsumer(
            **kafka_options(settings), enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100,
            max_poll_records=2000,
        )  # fmt: skip
        self._producer = KafkaProducer(**kafka_options(settings), acks="all", max_request_size=2 << 20)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
        self._producer.close(timeout=ACK_S)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Read what is there, then make vectors until asked to stop; what is being made is finished."""
        tps = [TopicPartition(name, 0) for name in (self._topics.videos, self._topics.vectors)]
        self._consumer.assign(tps)
        self._consumer.seek_to_beginning(*tps)
        ends = self._consumer.end_offsets(tps)
        while any(self._consumer.position(tp) < end for tp, end in ends.items()):
            self._take(self._consumer.poll(timeout_ms=200))
            if stopping():
                return
        for video_id in self._todo.start():
            self._send(self._topics.vectors, video_id.encode(), None)
        log.info("%d videos wait for vectors", sum(self._todo.waiting.values()))
        while not stopping():
            task = self._todo.next(self._clock.monotonic())
            if task is not None:
                self._do(task)
            self._take(self._consumer.poll(timeout_ms=0 if task is not None else int(1000 * _IDLE_S)))
            self._observe()

    def _take(self, polled: dict[Any, list[Any]]) -> None:
        for tp, records in polled.items():
            take = self._take_video if tp.topic == self._topics.videos else self._take_content
            for record in records:
                if self._is_mine(record.key):
                    take(record)

    def _is_mine(self, key: bytes | None) -> bool:
        which, of = self._part
        return bool(key) and key64((key or b"").decode("utf-8", "replace")) % of == which

    def _take_video(self, record: Any) -> None:
        video_id = record.key.decode("utf-8", "replace")
        if not record.value:
            if self._todo.withdraw(video_id):
                self._send(self._topics.vectors, record.key, None)
            return
        try:
            video = _decode_video(record.value)
        except BadRecord:
            return  # the worker that owns partition 0 sends the dead letter
        if video.video_id == video_id:
            self._todo.publish(record, video)

    def _take_content(self, record: Any) -> None:
        try:
            content = _decode_content(record.value) if record.value else None
        except BadRecord as bad:
            log.warning("vectors at offset %d are passed over: %s", record.offset, bad)
            return
        self._todo.note(record.key.decode("utf-8", "replace"), content)

    def _do(self, task: Task) -> None:
        started = perf_counter()
        content, result, detail = self._vectorise(task)
        self._metrics.seconds.observe(perf_counter() - started)
        if not self._todo.is_newest(task):
            return
        if content.reason:
            content = self._after_failure(task, content, detail)
        if content.final or not task.attempt:  # between the first time and the last nothing new is known
            self._send(self._topics.vectors, task.record.key, encode(content))
            self._todo.note(content.video_id, content)
        self._done[result] += 1
        self._metrics.videos.labels(result).inc()
        if not content.reason:
            waited_ms = max(0, self._clock.now_ms() - task.video.published_ms)
            self._metrics.published_to_vectors.observe(waited_ms / 1000)

    def _after_failure(self, task: Task, content: VideoContent, detail: str) -> VideoContent:
        """Look for media again that may still come, else send a dead letter; return what to publish."""
        reason = content.reason
        self._metrics.failures.labels(reason).inc()
        log.warning("%s: %s: %s", task.video.video_id, reason, detail)
        if reason in MAY_COME and task.attempt < len(PAUSES_S):
            self._todo.again(task, self._clock.monotonic() + PAUSES_S[task.attempt])
            return msgspec.structs.replace(content, final=False)
        if not task.known:
            key, value, headers = letter_parts(task.record, f"media-{reason}", detail)
            self._send(self._topics.dead_letters, key, value, list(headers))
        return content

    def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None) -> None:
        self._producer.send(topic, key=key, value=value, headers=headers or [], partition=0).get(ACK_S)

    def _observe(self) -> None:
        for kind, count in self._todo.waiting.items():
            self._metrics.queue.labels(kind).set(count)
        self._progress(self._done | {"waiting": sum(self._todo.waiting.values())})
