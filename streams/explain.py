"""Why a user got a slate: what the state rests on, and what moved each score.

Reads a state, never changes it. Everything is computed by the version that serves now; where the slate came from
another, `same_version` says so. Effects are found by leaving one thing out and scoring again, so they hold for every
scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.behaviour import FEATURES, LIKED, expand
from streams.core.events import Slate, Video
from streams.core.graph import TagPairs
from streams.core.lifts import LiftConfig, Social, lifts_of
from streams.core.pool import FreshPool
from streams.core.ports import Floats, Known, Scorer
from streams.core.profile import first_states
from streams.core.state import UserStates
from streams.core.ties import NONE, Ties
from streams.paths import ground, paths

#: What is left out of a video to see what it brought; `viewers` is what was learned of this very video.
PARTS = ("author", "tags", "music", "viewers", "media")
_BEHAVIOUR = {name: index for index, name in enumerate(FEATURES)}


@runtime_checkable
class HasTerms(Protocol):
    """A scorer that can take its logits apart."""

    def terms(self, hidden: Floats, videos: Sequence[Video], contents: Known = ()) -> dict[str, NDArray[np.float64]]:
        """Return terms [B, N] by name, which add up to the logits."""
        ...


@dataclass(frozen=True)
class History:
    """A user's state as it stands, copied out of its row.

    Attributes:
      hidden: [1, H]; valid with `model_version`.
      keys: [T] video keys of the recent steps, oldest first.
      behaviour: [T, F] inputs of these steps.
      profile: keys of the user's profile, as long as the state begins with it.
      ties: whom the user follows and knows.
    """

    hidden: Floats
    model_version: int
    last_offset: int
    last_step_ms: int
    steps: int
    seen: int
    open_impressions: int
    keys: NDArray[np.int64]
    behaviour: Floats
    profile: tuple[int, ...] = ()
    ties: Ties = NONE


def history(states: UserStates, user_id: str) -> History:
    """Return the state of a user whose row is in memory."""
    row = states.row(user_id)
    state = states.table[row]
    steps, recent = int(state["steps"]), states.shape.recent
    order = np.arange(max(0, steps - recent), steps) % recent
    return History(
        hidden=state["hidden"][None].copy(),
        model_version=int(state["model_version"]),
        last_offset=int(state["last_offset"]),
        last_step_ms=int(state["last_step_ms"]),
        steps=steps,
        seen=int(state["seen_count"]),
        open_impressions=len(states.impressions.get(row, ())),
        keys=state["recent_videos"][order],
        behaviour=expand(state["recent_numbers"][order], state["recent_flags"][order]),
        profile=states.profiles.get(row, ()) if steps <= recent else (),
        ties=states.ties.get(row, NONE),
    )


def explain(
    slate: Slate | None,
    state: History,
    pool: FreshPool,
    scorer: Scorer,
    social: Social | None = None,
    tags: TagPairs | None = None,
) -> dict[str, Any]:
    """Return an explanation, ready for JSON.

    Args:
      slate: the user's last one; None explains the state alone.
      social: what ties add to scores; tags: which of them go together; without them there are fewer paths.
    """
    slots = pool.slots_of_keys(state.keys)
    trail = replay(scorer, pool, slots, state.behaviour, state.profile)
    hidden = state.hidden if state.model_version == scorer.version and state.steps else trail[-1:]
    return {
        "model_version": scorer.version,
        "trained_through": scorer.trained_through,
        "state": {
            "steps": state.steps,
            "model_version": state.model_version,
            "last_offset": state.last_offset,
            "last_step_ms": state.last_step_ms,
            "seen_videos": state.seen,
            "open_impressions": state.open_impressions,
            "follows": len(state.ties.follows),
            "friends": len(state.ties.friends),
            "norm": round(float(np.linalg.norm(hidden)), 4),
            "rests_on": len(state.keys),
            "profile_words": len(state.profile),
        },
        "events": [_event(pool, int(slot), row) for slot, row in zip(slots, state.behaviour, strict=True)],
        "slate": _slate(slate, scorer, state) if slate else None,
        "items": _with_paths(
            _items(slate, hidden, slots, state, pool, scorer),
            slate,
            state,
            social or Social(LiftConfig(), pool),
            tags or TagPairs(),
        )
        if slate
        else [],
        "map": _map(slate, trail, hidden, pool, scorer),
    }


def replay(
    scorer: Scorer, pool: FreshPool, slots: NDArray[np.int64], behaviour: Floats, profile: tuple[int, ...] = ()
) -> Floats:
    """Return hidden states [T + 1, H] before the first and after each of T recent steps, from the profile on."""
    vectors = _vectors(pool, scorer, slots)
    hidden = [first_states([profile], scorer)]
    for step in range(len(slots)):
        hidden.append(scorer.step(hidden[-1], vectors[step : step + 1], behaviour[step : step + 1]))
    return np.concatenate(hidden)


def without_each(
    scorer: Scorer, pool: FreshPool, slots: NDArray[np.int64], behaviour: Floats, profile: tuple[int, ...] = ()
) -> Floats:
    """Return hidden states [T, H]: row t as if recent step t had not happened."""
    count = len(slots)
    vectors = _vectors(pool, scorer, slots)
    hidden = np.repeat(first_states([profile], scorer), count, axis=0)
    for step in range(count):
        rows = np.flatnonzero(np.arange(count) != step)
        if len(rows):
            wide = (len(rows), 1)
            hidden[rows] = scorer.step(hidden[rows], np.tile(vectors[step], wide), np.tile(behaviour[step], wide))
    return hidden


def about(video: Video) -> dict[str, Any]:
    """Return what a viewer may know of a video, ready for JSON."""
    return {
        "video_id": video.video_id,
        "author_id": video.author_id,
        "kind": video.kind.value,
        "published_ms": video.published_ms,
        "duration_ms": video.duration_ms,
        "tags": list(video.tags),
        "music_id": video.music_id,
        "title": video.title,
        "media": video.media,
        "price": video.price,
        "currency": video.currency,
        "stock": video.stock,
        "shown_in": list(video.shown_in),
        "starts_ms": video.starts_ms,
        "ends_ms": video.ends_ms,
        "viewers": video.viewers,
    }


def _event(pool: FreshPool, slot: int, row: Floats) -> dict[str, Any]:
    video = pool.videos[slot] if slot >= 0 else None
    flags = [name.removeprefix("is_") for name, at in _BEHAVIOUR.items() if name.startswith("is_") and row[at] > 0.5]
    known = bool(row[_BEHAVIOUR["watch_known"]] > 0.5 and row[_BEHAVIOUR["duration_known"]] > 0.5)
    return {
        "video": about(video) if video else None,
        "watch_ratio": round(2.0 * float(row[_BEHAVIOUR["watch_ratio"]]), 3) if known else None,
        "actions": [flag for flag in flags if flag not in ("product", "live")],
        "gap_s": round(float(np.expm1(15.0 * row[_BEHAVIOUR["log_gap"]])), 1),
    }


def _slate(slate: Slate, scorer: Scorer, state: History) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(slate)
    for name in ("schema", "video_ids", "scores", "explored", "explored_propensity", "propensity"):
        facts.pop(name, None)  # the items say it
    return facts | {
        "arm": slate.arm,
        "same_version": slate.model_version == scorer.version,
        "events_since": state.last_offset != slate.state_offset,
    }


def _items(
    slate: Slate, hidden: Floats, slots: NDArray[np.int64], state: History, pool: FreshPool, scorer: Scorer
) -> list[dict[str, Any]]:
    known = [(place, item, slot) for place, item in enumerate(slate.items) if (slot := pool.slot(item.video_id)) >= 0]
    videos = [video for _, _, slot in known if (video := pool.videos[slot]) is not None]
    if not videos:
        return []
    contents = pool.contents(slot for _, _, slot in known)
    logits = _logits(scorer, hidden, videos, contents)[0]
    parts = {part: logits - _logits(scorer, hidden, *_without(videos, contents, part))[0] for part in PARTS}
    terms = scorer.terms(hidden, videos, contents) if isinstance(scorer, HasTerms) else {}
    effects = _effects(scorer, pool, slots, state, videos, contents)
    return [
        {
            "position": place,
            "video": about(video),
            "score": item.score,
            "score_now": round(float(1.0 / (1.0 + np.exp(-float(logits[n])))), 6),
            "logit": _short(logits[n]),
            "terms": {name: _short(values[0, n]) for name, values in terms.items()},
            "parts": {name: _short(values[n]) for name, values in parts.items()},
            "because": _because(effects[:, n]),
            "explored": item.explored,
            "propensity": _short(item.propensity, 6),
            "age_s": round((slate.made_ms - video.published_ms) / 1000, 1),
        }
        for n, ((place, item, _), video) in enumerate(zip(known, videos, strict=True))
    ]


def _with_paths(
    items: list[dict[str, Any]], slate: Slate, state: History, social: Social, tags: TagPairs
) -> list[dict[str, Any]]:
    """Return the items with the paths that lead to them, and with what ties add to their logits now."""
    pool = social.pool
    slots = pool.slots_of_keys(state.keys)
    liked = np.flatnonzero(_went_well(state.behaviour) & (slots >= 0))[::-1].tolist()
    watched = [(step, video) for step in liked if (video := pool.videos[slots[step]]) is not None]
    known = ground(state.ties, watched, social.activity, tags)
    lifts = lifts_of({0: state.ties}, np.array([slate.made_ms]), pool.size, social) if social.lifts else None
    for item in items:
        slot = pool.slot(item["video"]["video_id"])
        video = pool.videos[slot]
        assert video is not None
        lift = lifts.at(np.zeros(1, np.int64), np.array([slot]))[0] if lifts else 0.0
        item |= {"paths": paths(video, known, slate.made_ms), "lift": _short(lift)}
    return items


def _went_well(behaviour: Floats) -> NDArray[np.bool_]:
    """Return which steps [T] speak for their video: liked in some way, or watched for at least half."""
    liked = behaviour[:, [_BEHAVIOUR[f"is_{name}"] for name in sorted(LIKED)]].any(axis=1)
    against = behaviour[:, [_BEHAVIOUR["is_skip"], _BEHAVIOUR["is_hide"]]].any(axis=1)
    found: NDArray[np.bool_] = (liked | (behaviour[:, _BEHAVIOUR["watch_ratio"]] >= 0.25)) & ~against
    return found


def _effects(
    scorer: Scorer, pool: FreshPool, slots: NDArray[np.int64], state: History, videos: Sequence[Video], contents: Known
) -> NDArray[np.float64]:
    """Return [T, N]: what each recent step added to the logit of each video."""
    if not len(slots):
        return np.zeros((0, len(videos)))
    made = slots, state.behaviour, state.profile
    whole, others = replay(scorer, pool, *made)[-1:], without_each(scorer, pool, *made)
    return _logits(scorer, whole, videos, contents) - _logits(scorer, others, videos, contents)


def _because(effects: NDArray[np.float64], most: int = 2) -> list[dict[str, Any]]:
    """Return the recent steps (as indices of `events`) that moved a score most, the strongest first."""
    order = np.argsort(-np.abs(effects), kind="stable")[:most]
    return [{"event": int(one), "effect": _short(effects[one])} for one in order if abs(effects[one]) > 1e-3]


def _map(slate: Slate | None, trail: Floats, hidden: Floats, pool: FreshPool, scorer: Scorer) -> dict[str, Any]:
    """Return a plane through the videos' keys, and how the user's query moved over it.

    The plane is spanned by the two directions in which the keys of the pool vary most. A query lies where the videos
    lie that it likes; its length is scaled to theirs.
    """
    keys = pool.encoded(scorer).keys[: pool.size].astype(np.float64)
    if len(keys) < 3:
        return {"videos": [], "trail": [], "items": []}
    mean = keys.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((keys - mean).T))
    plane = axes[:, :-3:-1]
    plane = plane * np.where(np.abs(plane).max(axis=0) == plane.max(axis=0), 1.0, -1.0)  # a sign that does not flip
    flat = (keys - mean) @ plane
    spread = float(np.percentile(np.linalg.norm(flat, axis=1), 90)) or 1.0
    queries = scorer.queries(np.concatenate([trail[:-1], hidden])).astype(np.float64) @ plane
    longest = float(np.linalg.norm(queries, axis=1).max()) or 1.0
    sample = np.linspace(0, len(keys) - 1, min(len(keys), 400)).astype(int)
    shown = [slot for item in slate.items if (slot := pool.slot(item.video_id)) >= 0] if slate else []
    return {
        "videos": _points(flat[sample] / spread),
        "trail": _points(queries / longest),
        "items": _points(flat[shown] / spread),
    }


def _points(rows: NDArray[np.float64]) -> list[list[float]]:
    return [[round(float(x), 3), round(float(y), 3)] for x, y in rows]


def _without(videos: Sequence[Video], contents: Known, part: str) -> tuple[Sequence[Video], Known]:
    if part == "media":
        return videos, ()
    changes: dict[str, dict[str, Any]] = {
        "author": {"author_id": ""},
        "tags": {"tags": ()},
        "music": {"music_id": ""},
        "viewers": {"video_id": ""},
    }
    return [msgspec.structs.replace(video, **changes[part]) for video in videos], contents


def _logits(scorer: Scorer, hidden: Floats, videos: Sequence[Video], contents: Known) -> NDArray[np.float64]:
    keys = scorer.encode(videos, contents)[1].astype(np.float64)
    return np.asarray(scorer.queries(hidden).astype(np.float64) @ keys.T)


def _vectors(pool: FreshPool, scorer: Scorer, slots: NDArray[np.int64]) -> Floats:
    """Return vectors [T, E] of slots [T]; zeros where the video is not known."""
    return np.where((slots >= 0)[:, None], pool.encoded(scorer).vectors[slots], np.float32(0.0))


def _short(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)
