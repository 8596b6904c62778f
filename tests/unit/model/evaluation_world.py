"""A small log in KuaiRand's columns: users with a taste for one of four tags."""

import csv
import gzip
import json

import numpy as np

USERS, VIDEOS, TAGS, DAY_MS = 60, 80, 4, 86_400_000
BEGINS_MS = 1_650_816_000_000  # 25 April 2022, China


def write_kuairand(folder, events=400, seed=0):
    """Write the three files; return (warm, features, stream)."""
    rng = np.random.default_rng(seed)
    features = folder / "videos.csv"
    with features.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["video_id", "author_id", "music_id", "video_duration", "tag"])
        out.writerows([v, v % 9, v % 5, 10_000 + 100 * v, v % TAGS] for v in range(VIDEOS))

    def pick(user):
        own = np.arange(VIDEOS) % TAGS == user % TAGS
        chance = np.where(own, 8.0, 1.0)
        return int(rng.choice(VIDEOS, p=chance / chance.sum()))

    warm = folder / "warm.jsonl"
    with warm.open("w") as file:
        for user in range(USERS):
            watched = [pick(user) for _ in range(12)]
            long = [video for video in watched if video % TAGS == user % TAGS]
            row = {"user_id": user, "history_len": 14, "last_time_ms": BEGINS_MS - user * 60_000 - 1}
            file.write(json.dumps({**row, "watch_seq": watched, "like_seq": [], "long_watch_seq": long}) + "\n")
    stream = folder / "stream.csv.gz"
    with gzip.open(stream, "wt", newline="") as file:
        out = csv.writer(file)
        out.writerow(["user_id", "video_id", "time_ms", "long_view", "play_time_ms", "duration_ms", "tab"])
        for row in range(events):
            user = int(rng.integers(0, USERS + 5))
            video = pick(user)
            long = int(video % TAGS == user % TAGS)
            at = BEGINS_MS + row * (2 * DAY_MS // events)
            out.writerow([user, video, at, long, 9000 * long, 10_000 + 100 * video, row % 2])
    return warm, features, stream
