"""Model versions for tests: small, with tables that hold rows, and no two alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.config import ModelConfig
from model.manifest import Evaluation, Manifest
from model.publish import Piece, current_record, records
from model.weights import Weights, initial, to_bytes
from streams.core.content import SIZES, VideoContent, encoded_half
from streams.core.events import Kind, Video
from streams.core.hashing import key64

SMALL = ModelConfig(hidden_size=8, embedding_size=4, category_size=3)
NAME = "default"
PROFILE_WORDS = ("age=1", "age=2", "region=north", "interest=cats")


def clip(number: int, **fields: Any) -> Video:
    """A video whose author, tags and music recur."""
    defaults: dict[str, Any] = {
        "video_id": f"v{number}",
        "author_id": f"a{number % 7}",
        "published_ms": 0,
        "kind": list(Kind)[number % 3],
        "duration_ms": 1000 * (number % 50),
        "tags": tuple(f"t{(number + step) % 11}" for step in range(number % 4)),
        "music_id": f"m{number % 5}" if number % 3 else "",
    }
    return Video(**(defaults | fields))


def told(number: int) -> VideoContent | None:
    """What is known of the media of `clip(number)`: everything, a part, or nothing."""
    if number % 5 == 4:
        return None
    rng = np.random.default_rng(number)
    vectors = {name: rng.normal(size=size) / np.sqrt(size) for name, size in SIZES.items()}
    some = {name: encoded_half(vector) for at, (name, vector) in enumerate(vectors.items()) if number % 5 != at}
    return VideoContent(video_id=f"v{number}", version="a", videos_offset=number, **some)


def table(rng: np.random.Generator, ids: Sequence[str], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending keys and random rows."""
    keys = np.array(sorted(key64(one) for one in ids), np.int64)
    return keys, rng.normal(0.0, 0.5, (len(keys), width)).astype(np.float32)


def grown(config: ModelConfig = SMALL, seed: int = 0, videos: int = 40) -> Weights:
    """Weights as after training: no array is zero, and the tables know some of what `clip` makes."""
    rng = np.random.default_rng(seed)
    weights = initial(config)
    for name, value in weights.items():
        if value.dtype == np.float32:
            weights[name] = value + rng.normal(0.0, 0.1, value.shape).astype(np.float32)
    ids = {
        "author": [f"a{n}" for n in range(6)],
        "tag": [f"t{n}" for n in range(9)],
        "music": [f"m{n}" for n in range(4)],
        "video": [f"v{n}" for n in range(videos)],
    }
    for name, known in ids.items():
        width = config.embedding_size + 1 if name == "video" else config.category_size
        weights[f"table.{name}.keys"], weights[f"table.{name}.rows"] = table(rng, known, width)
    return weights


def with_profiles(weights: Weights, config: ModelConfig = SMALL, seed: int = 0) -> Weights:
    """Weights that know what users say of themselves."""
    keys, rows = table(np.random.default_rng(seed), PROFILE_WORDS, config.hidden_size)
    return weights | {"table.profile.keys": keys, "table.profile.rows": rows}


def manifest(version: int, config: ModelConfig = SMALL, accepted: bool = True, **fields: Any) -> Manifest:
    """A manifest whose version learned from 1,000 records more than its parent, the version before it."""
    defaults: dict[str, Any] = {
        "name": NAME,
        "parent": version - 1,
        "trained_through": 1000 * version,
        "created_ms": 1_700_000_000_000 + 1000 * version,
        "evaluation": Evaluation(accepted=accepted, candidate_loss=0.4, incumbent_loss=0.5),
    }
    return Manifest(version=version, config=config, **(defaults | fields))


def pieces(version: int, config: ModelConfig = SMALL, **fields: Any) -> list[Piece]:
    """The records of a sound version; its weights differ from any other's."""
    weights = with_profiles(grown(config, version), config, version)
    return records(manifest(version, config, **fields), to_bytes(weights))


def serve(version: int, epoch: int) -> Piece:
    """The record that puts a version into service."""
    return current_record(NAME, epoch, version, "test")
