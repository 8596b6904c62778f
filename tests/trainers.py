"""What tests of the trainer share: small settings, feedback of a small world, and the versions that came of it."""

from kafka import KafkaConsumer, TopicPartition

from model.config import model_config
from model.registry import Registry
from streams.codecs import encode
from streams.topics import Topics

SMALL = {
    "hidden_size": 8,
    "embedding_size": 4,
    "train_examples": 400,
    "train_minimum": 100,
    "train_seconds": 3600.0,
    "gate_margin": 1.0,
}


def send(producer, settings, world, count):
    """Send `count` new feedback records, by user to two partitions."""
    topics = Topics(settings)
    if not world.offset:
        for video in world.catalogue:
            producer.send(topics.videos, key=video.video_id.encode(), value=encode(video))
    for record in world.exposures(count):
        partition = int(record.user_id[1:]) % 2
        producer.send(topics.feedback, key=record.user_id.encode(), value=encode(record), partition=partition)
    producer.flush()


def published(settings):
    """The registry of what is in the models topic."""
    registry = Registry(settings.model_name, model_config(settings), settings.frozen_after)
    tp = TopicPartition(Topics(settings).models, 0)
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest")
    consumer.assign([tp])
    end = consumer.end_offsets([tp])[tp]
    while consumer.position(tp) < end:
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                refused = registry.feed(record.key, record.value) or ""
                assert refused.startswith("epoch: ") or refused in ("", registry.why_not(1))
    consumer.close()
    return registry
