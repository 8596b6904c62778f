"""Print the first slate of a user. Usage: consume.py BOOTSTRAP USER [PREFIX]"""

import sys

import msgspec
from kafka import KafkaConsumer

bootstrap, user, prefix = (*sys.argv[1:], "")[:3]
slates = KafkaConsumer(f"{prefix}recommendations", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
for record in slates:
    slate = msgspec.msgpack.decode(record.value)  # any MessagePack library will do
    if slate["user_id"] == user:
        for video_id, score in zip(slate["video_ids"], slate["scores"], strict=True):
            print(f"{video_id} {score:.3f}")
        break
slates.close()
