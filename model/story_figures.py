"""The figures of a run's report, from its story: pure functions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.metrics import bootstrap_mean
from model.registry import Registry
from streams.core.events import Feedback, Slate, Video

POINTS = 30  # of a curve
LEAST = 20  # impressions behind a point or a topic; fewer say nothing
TOPICS = 16
SHOWN = 8  # positions of an example


def rewards(feedback: Sequence[Feedback]) -> dict[str, dict[str, Any]]:
    """Return by arm the mean label with its 95 % interval (users drawn), and how many impressions it rests on."""
    found = {}
    for arm, some in sorted(_by_arm(feedback).items()):
        users = np.unique([one.user_id for one in some], return_inverse=True)[1].astype(np.int64)
        got = bootstrap_mean(np.array([one.label for one in some]), users)
        found[arm] = {"mean": got.value, "interval": [got.low, got.high], "impressions": len(some)}
    return found


def learning_curve(feedback: Sequence[Feedback]) -> dict[str, list[tuple[float, float]]]:
    """Return by arm (seconds since the first impression, mean label) of equal stretches of time."""
    start = min((one.impression_ms for one in feedback), default=0)
    end = max((one.impression_ms for one in feedback), default=0)
    width = max(1, end - start + 1) / POINTS
    found = {}
    for arm, some in sorted(_by_arm(feedback).items()):
        place = ((np.array([one.impression_ms for one in some]) - start) / width).astype(np.int64)
        counts = np.bincount(place, minlength=POINTS)
        sums = np.bincount(place, [one.label for one in some], POINTS)
        found[arm] = [
            ((at + 0.5) * width / 1000, float(sums[at] / counts[at])) for at in range(POINTS) if counts[at] >= LEAST
        ]
    return found


def versions(registry: Registry, slates: Sequence[tuple[int, Slate]], start_ms: int) -> list[dict[str, Any]]:
    """Return each version: when it was made, what the gate said, and how long its newest feedback took to serve."""
    first: dict[int, int] = {}
    for _, slate in slates:
        if slate.arm == "online":
            first[slate.model_version] = min(slate.made_ms, first.get(slate.model_version, slate.made_ms))
    found = []
    for number, one in sorted(registry.manifests.items()):
        served = first.get(number)
        found.append(
            {
                "version": number,
                "at_s": (one.created_ms - start_ms) / 1000,
                "accepted": one.evaluation.accepted,
                "reason": one.evaluation.reason,
                "examples": one.trained_through,
                "feedback_to_serving_s": None if served is None else max(0, served - one.trained_through_ms) / 1000,
            }
        )
    return found


def delays_ms(slates: Sequence[tuple[int, Slate]]) -> dict[str, Any]:
    """Return how long slates took: the event's record to the slate's, both by the clock of who wrote them."""
    values = np.array([max(0, at - slate.made_ms) for at, slate in slates], np.float64)
    bounds = np.array([0, 5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 1000, 2500, np.inf])
    counts = np.histogram(values, bounds)[0]
    names = [f"< {high:.0f}" if np.isfinite(high) else f"{low:.0f}+" for low, high in pairwise(bounds.tolist())]
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "bars": list(zip(names, counts.tolist(), strict=True))}


def beliefs(
    slates: Sequence[tuple[int, Slate]], feedback: Sequence[Feedback], videos: Mapping[str, Video]
) -> list[dict[str, Any]]:
    """Return by topic (tag) what the online model expected of its videos and what came, early and late in the run.

    Expected: the mean score of impressions that were not explored; came: their mean label, which a score predicts.
    """
    shown = {slate.slate_id: slate for _, slate in slates if slate.arm == "online"}
    rows: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for one in feedback:
        slate, video = shown.get(one.slate_id), videos.get(one.video_id)
        if (
            one.arm != "online"
            or slate is None
            or video is None
            or one.position in slate.explored
            or one.position >= len(slate.scores)
        ):
            continue
        for tag in video.tags:
            rows[tag].append((one.impression_ms, float(slate.scores[one.position]), one.label))
    found = []
    middle = float(np.median([at for some in rows.values() for at, _, _ in some])) if rows else 0.0
    for tag, some in sorted(rows.items(), key=lambda item: -len(item[1]))[:TOPICS]:
        halves = [_means(one for one in some if (one[0] > middle) is late) for late in (False, True)]
        if all(half["impressions"] >= LEAST for half in halves):
            found.append({"topic": tag, "early": halves[0], "late": halves[1]})
    return found


def _means(some: Iterable[tuple[int, float, float]]) -> dict[str, float]:
    rows = np.array(list(some), np.float64).reshape(-1, 3)
    if not len(rows):
        return {"impressions": 0, "expected": 0.0, "came": 0.0}
    return {"impressions": len(rows), "expected": float(rows[:, 1].mean()), "came": float(rows[:, 2].mean())}


def kinship(registry: Registry, videos: Mapping[str, Video]) -> tuple[list[str], NDArray[np.float64]]:
    """Return frequent topics, neighbours beside each other, and the cosines [N, N] of their mean video vectors."""
    serving = registry.current()
    counts = Counter(tag for video in videos.values() for tag in video.tags)
    tags = [tag for tag, count in counts.most_common(TOPICS) if count >= 3]
    if serving is None or len(tags) < 2:
        return [], np.zeros((0, 0))
    listed = list(videos.values())
    vectors = serving.scorer().encode(listed)[0].astype(np.float64)
    vectors -= vectors.mean(0)
    means = np.stack([vectors[[tag in video.tags for video in listed]].mean(0) for tag in tags])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    cosines = means @ means.T
    order = [0]
    while len(order) < len(tags):  # the nearest one that is left comes next
        left = [at for at in range(len(tags)) if at not in order]
        order.append(max(left, key=lambda at: float(cosines[order[-1], at])))
    return [tags[at] for at in order], cosines[np.ix_(order, order)]


def examples(
    slates: Sequence[tuple[int, Slate]], feedback: Sequence[Feedback], videos: Mapping[str, Video], count: int = 3
) -> list[dict[str, Any]]:
    """Return the first and last slate of the online viewers who answered most, with what they liked in between."""
    answered = Counter(one.user_id for one in feedback if one.arm == "online" and not one.provisional)
    by_user: dict[str, list[Slate]] = defaultdict(list)
    for _, slate in slates:
        by_user[slate.user_id].append(slate)
    found = []
    for user, answers in answered.most_common():
        mine = sorted(by_user.get(user, ()), key=lambda slate: slate.state_offset)
        if len(mine) < 2:
            continue
        liked = Counter(
            tag
            for one in feedback if one.user_id == user and one.label >= 0.5
            for tag in (videos[one.video_id].tags if one.video_id in videos else ())
        )  # fmt: skip
        favourites = [tag for tag, _ in liked.most_common(4)]
        found.append(
            {
                "user": user, "answers": answers, "favourites": favourites,
                "before": _shown(mine[0], videos, favourites), "after": _shown(mine[-1], videos, favourites),
            }
        )  # fmt: skip
        if len(found) == count:
            break
    return found


def _shown(slate: Slate, videos: Mapping[str, Video], favourites: Sequence[str]) -> dict[str, Any]:
    rows = []
    for item in slate.items[:SHOWN]:
        video = videos.get(item.video_id)
        tags = video.tags if video else ()
        rows.append(
            {
                "title": (video.title if video else "") or item.video_id,
                "tags": list(tags),
                "score": item.score,
                "explored": item.explored,
                "favourite": bool(set(tags) & set(favourites)),
            }
        )
    return {"version": slate.model_version, "at_ms": slate.made_ms, "rows": rows}


def _by_arm(feedback: Sequence[Feedback]) -> dict[str, list[Feedback]]:
    found: dict[str, list[Feedback]] = defaultdict(list)
    for one in feedback:
        found[one.arm].append(one)
    return found
