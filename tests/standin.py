"""A stand-in for a worker: answers every outcome and every open with a slate, in a thread."""

from __future__ import annotations

import threading

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streams.codecs import Decoder, encode
from streams.core.events import Event, EventType, Slate, Video
from streams.topics import Topics

_event, _video = Decoder(Event), Decoder(Video)


class StandIn:
    """Serves slates of live videos drawn at random.

    Attributes:
      events: (partition, event) in the order read.
      versions: model version by arm.
      videos: live videos by id; withdrawn: ids.
    """

    def __init__(self, settings, size=10):
        self._topics, self._size = Topics(settings), size
        servers = settings.bootstrap.split(",")
        self._producer = KafkaProducer(bootstrap_servers=servers)
        self._consumer = KafkaConsumer(
            bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        parts = [TopicPartition(self._topics.events, number) for number in range(settings.partitions)]
        self._consumer.assign([TopicPartition(self._topics.videos, 0), *parts])
        self._rng = np.random.default_rng(1)
        self._stop = threading.Event()
        self.events, self.videos, self.withdrawn, self.versions = [], {}, set(), {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)
        self._consumer.close()
        self._producer.close()

    def _run(self):
        while not self._stop.is_set():
            for tp, records in self._consumer.poll(timeout_ms=50).items():
                for record in records:
                    if tp.topic == self._topics.videos:
                        self._publish(record)
                    else:
                        self._answer(tp.partition, record)

    def _publish(self, record):
        video_id = record.key.decode()
        if record.value is None:
            self.videos.pop(video_id, None)
            self.withdrawn.add(video_id)
        else:
            self.videos[video_id] = _video(record.value)

    def _answer(self, partition, record):
        event = _event(record.value)
        self.events.append((partition, event))
        if event.type is EventType.IMPRESSION or not self.videos:
            return
        arm = event.user_id.partition("@")[2] or "online"
        live = list(self.videos)
        picked = self._rng.choice(len(live), min(self._size, len(live)), replace=False)
        slate = Slate(
            slate_id=f"{partition}-{record.offset}", user_id=event.user_id, event_id=event.event_id,
            event_time_ms=event.event_time_ms, made_ms=record.timestamp, state_offset=record.offset,
            model_version=self.versions.get(arm, 0), trained_through=0, youngest_ms=0, oldest_ms=0,
            candidates=len(live), video_ids=[live[one] for one in picked], scores=[0.5] * len(picked), arm=arm,
        )  # fmt: skip
        self._producer.send(self._topics.recommendations, encode(slate), record.key)
