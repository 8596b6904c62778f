"""Rendered clips never seen: do those of one topic find each other, and do the halves of one clip?"""

from __future__ import annotations

import numpy as np

from model.content.decoder import Decoder
from model.content.encoder import ContentEncoder
from model.content.examples import TOPIC_SIZE, Renderer
from model.content.media import Media
from model.content.retrieval import HALVES, HalvesResult, compare, match_halves, precision_at
from model.content.serving import TowerForward
from model.content.sound import log_mel
from model.content.towers import SOUND, initial_weights
from streams.core.ports import Floats

SCENE_CLIPS = 3  # of a scene, told apart by what happens alone


def topic_precision(
    render: Renderer, encoder: ContentEncoder, decoder: Decoder, topics: int, clips: int, count: int, seed: int
) -> dict[str, float]:
    """Return precision@count by way, over `topics` x `clips` rendered MP4 files that take the way of every upload.

    `trained`, `untrained` and `histogram` look at frames; `sound` and `sound_untrained` listen; `both` is the sum of
    the trained cosines. `chance` is what a random order gives.
    """
    rng = np.random.default_rng([seed, topics])
    media: list[Media] = []
    for _ in range(topics):
        topic = rng.normal(size=TOPIC_SIZE)
        for _ in range(clips):
            scene, own = (int(word) for word in rng.integers(1 << 30, size=2))
            near = topic + 0.3 * rng.normal(size=TOPIC_SIZE)
            media.append(decoder(render(near, (1 << 31) + scene, own, float(rng.uniform(2.0, 5.0))).mp4()))
    groups = np.repeat(np.arange(topics), clips)
    seen = compare(media, lambda one: _present(encoder.of_frames(one)))
    plain = TowerForward(SOUND, initial_weights(SOUND, 1))
    heard = np.stack([_present(encoder.of_sound(one)) for one in media])
    ways = seen | {
        "sound": heard,
        "sound_untrained": np.stack([plain(log_mel(one.sound)) for one in media]),
        "both": np.concatenate([seen["trained"], heard], axis=1),
    }
    found = {way: round(precision_at(vectors, groups, count), 4) for way, vectors in ways.items()}
    return found | {"chance": round((clips - 1) / (topics * clips - 1), 4)}


def halves_found(
    render: Renderer, encoder: ContentEncoder, decoder: Decoder, scenes: int, seed: int
) -> dict[str, HalvesResult]:
    """Return by way how halves of rendered MP4 files find each other, where `SCENE_CLIPS` share place and people."""
    rng = np.random.default_rng([seed, 5])
    media: list[Media] = []
    for _ in range(scenes):
        topic, scene = rng.normal(size=TOPIC_SIZE), int(rng.integers(1 << 30))
        for own in range(SCENE_CLIPS):
            clip = render(topic, (1 << 31) + scene, own, float(rng.uniform(2.0, 5.0))).mp4()
            media += [decoder(clip, window) for window in HALVES]
    vectors = compare(media, lambda one: _present(encoder.of_frames(one)))
    return {way: match_halves(found) for way, found in vectors.items()}


def _present(vector: Floats | None) -> Floats:
    if vector is None:
        raise ValueError("a rendered clip lost its pictures or its sound")
    return vector
