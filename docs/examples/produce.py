"""Publish ten videos and open a session. Usage: produce.py BOOTSTRAP USER [PREFIX]"""

import json
import sys
import time

from kafka import KafkaProducer

bootstrap, user, prefix = (*sys.argv[1:], "")[:3]
now_ms = int(time.time() * 1000)
producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", key_serializer=str.encode)
for number in range(10):
    video = {"video_id": f"py-{number}", "author_id": f"author-{number}", "published_ms": now_ms, "tags": ["cats"]}
    producer.send(f"{prefix}videos", key=video["video_id"], value=json.dumps(video).encode())
producer.flush()
event = {"event_id": f"{user}-{now_ms}", "user_id": user, "type": "open", "event_time_ms": now_ms}
producer.send(f"{prefix}events", key=user, value=json.dumps(event).encode()).get(timeout=10)
producer.close()
