"""An explanation for a person, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.core.events import Kind
from streams.paths import in_words

_NAMES = {
    "author": "author", "tags": "tags", "music": "music", "viewers": "what viewers did", "media": "look, sound, text",
}  # fmt: skip


def as_text(found: dict[str, Any], top: int = 8) -> RenderableType:
    """Return an explanation as a few tables; `top` positions of the slate are shown."""
    return Group(_state(found), Text(), _events(found["events"]), Text(), *_slate(found, top))


def _state(found: dict[str, Any]) -> RenderableType:
    state = found["state"]
    how = "" if found["policy"] == "online" else f"; served by policy '{found['policy']}'"
    text = (
        f"{state['steps']} steps, the last {state['rests_on']} kept; {state['seen_videos']} videos seen; model version "
        f"{found['model_version']}, which learned from {found['trained_through']:,} feedback records; "
        f"held by worker {found['worker']}{how}"
    )
    return Group(Text(found["user_id"], "bold"), Text(text))


def _events(events: Sequence[dict[str, Any]]) -> RenderableType:
    if not events:
        return Text("No event has moved this state yet; its slate is what suits a newcomer.", "dim")
    table = Table(title="What the state rests on, newest last", title_justify="left", box=None, pad_edge=False)
    for heading in ("#", "video", "did", "about"):
        table.add_column(heading, overflow="fold")
    for number, event in enumerate(events):
        video = event["video"]
        name, about = (video["video_id"], label(video)) if video else ("no longer known", "")
        table.add_row(str(number), name, did(event), about)
    return table


def _slate(found: dict[str, Any], top: int) -> list[RenderableType]:
    slate = found["slate"]
    if slate is None:
        return [Text("No slate is held for this user; the next event brings one.", "dim")]
    title = f"Slate {slate['slate_id']}, model version {slate['model_version']}, {slate['candidates']} candidates"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("#", "video", "score", "because", "about"):
        table.add_column(heading, overflow="fold")
    for item in found["items"][:top]:
        score = f"{item['score']:.3f}" + (" explored" if item["explored"] else "")
        table.add_row(
            str(item["position"]), item["video"]["video_id"], score, why(item, found["events"]), label(item["video"])
        )
    notes: list[RenderableType] = [table]
    if not slate["same_version"]:
        notes.append(Text(f"Explained by version {found['model_version']}, which has come into service since.", "dim"))
    return notes


def did(event: dict[str, Any]) -> str:
    """Return what the viewer did, in words."""
    ratio = event["watch_ratio"]
    words = [] if ratio is None else [f"watched {ratio:.0%}"]
    return ", ".join([*words, *event["actions"]]) or "watched"


def label(video: dict[str, Any]) -> str:
    """Return author, tags and title of a video in one line; for a product and a room what they are before it."""
    words = [kind_words(video), video["author_id"], *(f"#{tag}" for tag in video["tags"]), video["title"]]
    return " ".join(filter(None, words))


def kind_words(video: Mapping[str, Any]) -> str:
    """Return what a product costs or how many are in a live room; nothing for a video."""
    if video["kind"] == Kind.PRODUCT.value:
        price = "" if video["price"] is None else f" {video['price']:.2f} {video['currency']}".rstrip()
        return f"[product{price}]"
    return f"[live, {video['viewers']:,} there]" if video["kind"] == Kind.LIVE.value else ""


def why(item: dict[str, Any], events: Sequence[dict[str, Any]]) -> str:
    """Return what moved a score most, in words, with effects in logits."""
    if item["explored"]:
        return f"drawn by chance (probability {item['propensity']:.4f})"
    reasons = sorted(item["parts"].items(), key=lambda part: -abs(part[1]))[:2]
    words = [in_words(path) for path in item.get("paths", ())[:1]]
    words += [f"{_NAMES.get(name, name)} {effect:+.2f}" for name, effect in reasons if abs(effect) >= 0.005]
    for cause in item["because"][:1]:
        video = events[cause["event"]]["video"]
        what = f"{did(events[cause['event']])} {video['video_id'] if video else 'a video'}"
        words.append(f"{what} {cause['effect']:+.2f}")
    return "; ".join(words) or "the state as a whole"
