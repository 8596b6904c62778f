"""A small log in KuaiRand's form."""

from __future__ import annotations

import gzip
from pathlib import Path

FIRST_MS = 1_650_812_741_436
STREAM = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag"
)


def exposure(user=1, video=2, at=FIRST_MS, play="1500", duration="9000", like=0, hate=0) -> str:
    return f"{user},{video},20220425,0,{at},1,{like},0,0,0,{hate},1,{play},{duration},0,0,0,0,1"


def video_row(video=2, author=5, uploaded="2022-04-10", duration="9000.0", music="77", tag="3") -> str:
    return f"{video},{author},NORMAL,{uploaded},Web,0.0,{duration},720.0,1280.0,{music},9.0,{tag}"


def write(folder: Path, rows: list[str], videos: list[str], name: str = "stream_test.csv.gz") -> Path:
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / name, "wt") as file:
        file.write("\n".join([STREAM, *rows]) + "\n")
    (folder / "video_features_basic_pure.csv").write_text("\n".join([VIDEOS, *videos]) + "\n")
    return folder
