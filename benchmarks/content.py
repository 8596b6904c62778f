"""What content is worth on videos that hardly anybody has seen: the closed loop with and without each kind of it.

The clips are rendered, written as MP4, decoded and embedded by the towers that ship; the latent topic of a video
reaches the model through them, or through author, tags, music and duration, or not at all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from model.modalities import MODALITIES
from producers.simulation import Simulation
from streams.config import ConfigError
from streams.core.events import Video

EARLY = 20  # impressions of a video in an arm
WARM = 1 / 3  # of a run, during which nothing is counted
RATE, VIDEOS = 600.0, 1500  # events per second over both arms, videos at the start
VARIANTS = {
    "none": (),
    "categories": ("categories",),
    "frames": ("frames",),
    "sound": ("sound",),
    "text": ("text",),
    "media": MODALITIES,
    "all": ("categories", *MODALITIES),
    "all-categories": MODALITIES,
    "all-frames": ("categories", "sound", "text"),
    "all-sound": ("categories", "frames", "text"),
    "all-text": ("categories", "frames", "sound"),
}


def run(seeds: Sequence[int], variants: Sequence[str], seconds: float, folder: Path, say: Callable[[str], None]) -> Any:
    """Return reward shares of early impressions by variant, a number per seed; each run is a process of its own.

    Args:
      variants: of `VARIANTS`; none for all but that of media alone.
    Raises:
      ConfigError: one is not known.
    """
    variants = variants or [name for name in VARIANTS if name != "media"]
    if unknown := set(variants) - VARIANTS.keys():
        raise ConfigError(f"--variants {', '.join(sorted(unknown))}: there are {', '.join(VARIANTS)}")
    shares: dict[str, list[float]] = {name: [] for name in variants}
    counts: dict[str, list[int]] = {name: [] for name in variants}
    for seed in seeds:
        for name in variants:
            command = [sys.executable, "-m", "benchmarks.content", name, str(seed), str(seconds), str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            shares[name].append(round(found["share"], 4))
            counts[name].append(found["early"])
            say(f"seed {seed}, {name}: {found['share']:.3f} of the way on {found['early']} early impressions")
    result: dict[str, Any] = {"share": shares, "early_impressions": counts, "seeds": list(seeds), "seconds": seconds}
    if {"none", "all"} <= set(variants):
        pairs = zip(shares["all"], shares["none"], strict=True)
        result["content_to_none"] = [round(one / other, 2) if other > 0 else None for one, other in pairs]
    return result


class Counting(Simulation):
    """Adds up the expected reward of impressions once the run is warm, those of hardly seen videos apart.

    Attributes:
      early, every: by arm, sum of the expected reward and count.
    """

    warm_ms = 0.0

    def begin(self, now_ms: int) -> None:
        """Start the time of the world; before the first tick."""
        super().begin(now_ms)
        arms = len(self.setup.arms)
        self._shown = np.zeros((arms, 1 << 16), np.int64)
        self.early, self.every = np.zeros((arms, 2)), np.zeros((arms, 2))

    def _look(self, arm: int, viewers: Any, tastes: Any, shown: Any, luck: Any, now_ms: int, events: Any) -> None:
        numbers = np.array([one.number for one in shown], np.int64)
        if now_ms >= self.start_ms + self.warm_ms:
            expected = self._truth(viewers, tastes, numbers)[1]
            early = self._shown[arm, numbers] < EARLY
            self.early[arm] += expected[early].sum(), early.sum()
            self.every[arm] += expected.sum(), len(numbers)
        np.add.at(self._shown[arm], numbers, 1)
        super()._look(arm, viewers, tastes, shown, luck, now_ms, events)


def one(name: str, seed: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Return the share of one variant: of the way from random to the oracle, on early impressions alone."""
    from benchmarks.clip_vectors import ClipVectors
    from benchmarks.closed_loop import ClosedLoop, LoopOptions, make_learner
    from model.trainer_cli import quiet_tensorflow
    from streams.config import load_settings

    quiet_tensorflow(threads=1)
    chosen = VARIANTS[name]
    media = [one for one in MODALITIES if one in chosen]
    vectors = ClipVectors(folder, lambda text: print(text, file=sys.stderr, flush=True))

    class Loop(ClosedLoop):
        """Publishes what the variant may see."""

        make_world = Counting

        def _publish(self, videos: list[Any]) -> None:
            contents = [vectors(self.world.catalogue, video) for video in videos] if media else []
            if "categories" not in chosen:
                videos = [bare(video) for video in videos]
            if "text" not in chosen:
                videos = [msgspec.structs.replace(video, title="") for video in videos]
            self.learner.store.catalogue.add_contents(contents)
            self.pool.note_contents(contents, [0] * len(contents))
            super()._publish(videos)

    settings = load_settings(
        arms={"online": "online", "random": "random"},
        media_inputs=",".join(media),
        **({} if "text" in chosen else {"text_rows": False}),
    )
    # Without categories every video has an author of its own, of whom nothing is known at first.
    changed: dict[str, Any] = {} if "categories" in chosen else {"own_scale": 0.0}
    learner = make_learner(settings, **changed)
    options = LoopOptions(seconds, RATE, videos=VIDEOS, seed=seed)
    loop = Loop(settings, options, learner, arms=tuple(settings.arms))
    world = cast(Counting, loop.world)
    world.warm_ms = 1000 * WARM * seconds
    best = loop.run()["reward"]["oracle"]
    vectors.close()
    (early, _), (_, chance) = ((sums[:, 0] / np.maximum(sums[:, 1], 1)).tolist() for sums in (world.early, world.every))
    return {
        "share": (early - chance) / (best - chance), "early": int(world.early[0, 1]), "reward": early,
        "random": chance, "oracle": best, "versions": loop.versions,
    }  # fmt: skip


def bare(video: Video) -> Video:
    """Return a video of which nothing is known but its id."""
    return msgspec.structs.replace(video, author_id=video.video_id, tags=(), music_id="", duration_ms=0)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    print(json.dumps(one(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))))
