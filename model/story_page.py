"""The HTML page of a run's report: one file, pictures as SVG, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.report import STYLE

COLOURS = {"online": "#d1495b", "frozen": "#5b7fbd", "popular": "#c58a1b", "random": "#7a8699"}
_WIDE, _HIGH, _LEFT, _FOOT, _TOP = 760, 260, 48, 28, 20
_MORE = """.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
@media(max-width:44rem){.pair{grid-template-columns:1fr}}
.mine{font-weight:600}.quiet{color:#7a8699}svg{max-width:100%;height:auto}table{font-size:14px}"""


def page(found: Mapping[str, Any]) -> str:
    """Return the page of a report's figures (`model.report_cli.figures`)."""
    parts = [
        f"<h1>Freshloop: what happened</h1><p>{escape(found['sentence'])}</p>",
        "<h2>Learning</h2>", _rewards(found["rewards"]),
        "<p>Mean label of an impression (half the reward) over the run, by arm. Marks below: versions of the model, "
        "filled when the gate let them serve.</p>",
        curve(found["curve"], found["versions"]),
        "<h2>Freshness</h2>",
        f"<p>From a viewer's event to the slate that answers it: p50 {found['delays']['p50']:.0f} ms, p99 "
        f"{found['delays']['p99']:.0f} ms.</p>", bars(found["delays"]["bars"]), _freshness(found),
        "<h2>What the model believes about topics</h2>", _beliefs(found["beliefs"]), heat(*found["kinship"]),
        "<h2>Slates before and after</h2>", *[_example(one) for one in found["examples"]],
    ]  # fmt: skip
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Freshloop report</title><style>{STYLE}{_MORE}</style>{''.join(parts)}</html>\n"
    )


def _rewards(rewards: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td style='color:{COLOURS.get(arm, 'inherit')}'>{escape(arm)}<td>{one['mean']:.3f}"
        f"<td>[{one['interval'][0]:.3f}, {one['interval'][1]:.3f}]<td>{one['impressions']}"
        for arm, one in rewards.items()
    ]
    return f"<table><tr><th>arm<th>mean label<th>95 %<th>impressions{''.join(rows)}</table>"


def curve(lines: Mapping[str, Sequence[tuple[float, float]]], versions: Sequence[Mapping[str, Any]]) -> str:
    """Return lines over time by arm, and marks of versions."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return "<p class=quiet>Too few impressions for a curve.</p>"
    right = max(at for at, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)
    low, high = low - 0.05 * (high - low + 1e-6), high + 0.05 * (high - low + 1e-6)

    def x(at: float) -> float:
        return _LEFT + (_WIDE - _LEFT - 10) * min(max(at / right, 0.0), 1.0)

    def y(value: float) -> float:
        return _TOP + (_HIGH - _FOOT - _TOP) * (1 - (value - low) / (high - low))

    parts = [_text(0, y(value) + 4, f"{value:.2f}") for value in np.linspace(low, high, 4)[:-1]]
    parts += [_text(x(right * share) - 10, _HIGH, f"{right * share:.0f} s") for share in (0.0, 0.5, 0.97)]
    for shift, (name, line) in enumerate(lines.items()):
        colour = COLOURS.get(name, "#888")
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{_LEFT + 90 * shift}" y="12" style="fill:{colour}">{escape(name)}</text>')
    for one in versions:
        if 0 <= one["at_s"] <= right:
            fill = COLOURS["online"] if one["accepted"] else "none"
            title = f"version {one['version']}: {one['reason']}"
            parts.append(
                f'<circle cx="{x(one["at_s"]):.1f}" cy="{_HIGH - _FOOT + 6}" r="4" fill="{fill}" '
                f'stroke="{COLOURS["online"]}"><title>{escape(title)}</title></circle>'
            )
    return _svg(parts, "mean label over time by arm")


def bars(counts: Sequence[tuple[str, int]]) -> str:
    """Return a histogram with its bounds in milliseconds."""
    top, step = max([count for _, count in counts] + [1]), (_WIDE - _LEFT) / max(len(counts), 1)
    parts = []
    for place, (name, count) in enumerate(counts):
        height = (_HIGH - _FOOT - _TOP) * count / top
        x = _LEFT + place * step
        parts.append(
            f'<rect x="{x:.1f}" y="{_HIGH - _FOOT - height:.1f}" width="{step - 4:.1f}" height="{height:.1f}" '
            f'fill="{COLOURS["frozen"]}"><title>{count}</title></rect>'
        )
        parts.append(_text(x, _HIGH - 8, name))
    return _svg(parts, "slates by milliseconds from event to slate")


def heat(names: Sequence[str], cosines: NDArray[np.float64]) -> str:
    """Return cosines as a map: near topics red, opposite ones blue."""
    if not len(names):
        return "<p class=quiet>No version has learned of topics yet.</p>"
    cell, left = 26, 130
    parts = []
    for row, name in enumerate(names):
        parts.append(_text(0, row * cell + 18, name[:18]))
        for column, other in enumerate(names):
            value = float(cosines[row, column])
            colour = COLOURS["online"] if value > 0 else COLOURS["frozen"]
            parts.append(
                f'<rect x="{left + column * cell}" y="{row * cell}" width="{cell - 1}" height="{cell - 1}" '
                f'fill="{colour}" fill-opacity="{min(abs(value), 1.0):.2f}"><title>{escape(name)}, {escape(other)}: '
                f"{value:.2f}</title></rect>"
            )
    size = left + cell * len(names)
    return (
        "<p>Which topics the serving version holds for alike (red) or opposite (blue): cosines of the mean vectors of "
        "their videos.</p>" + _svg(parts, "topics held for alike", size, cell * len(names))
    )


def _freshness(found: Mapping[str, Any]) -> str:
    rows = []
    for one in found["versions"]:
        took = one["feedback_to_serving_s"]
        rows.append(
            f"<tr><td>{one['version']}<td>{one['at_s']:.0f} s<td>{one['examples']}<td>"
            f"{'–' if took is None else f'{took:.1f} s'}<td style='text-align:left'>{escape(one['reason'])}"
        )
    head = "<tr><th>version<th>made at<th>learned from<th>feedback → serving<th style='text-align:left'>gate"
    return f"<details open><summary>{len(rows)} versions</summary><table>{head}{''.join(rows)}</table></details>"


def _beliefs(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p class=quiet>Too few impressions by topic.</p>"
    listed = [
        f"<tr><td>{escape(one['topic'])}"
        + "".join(f"<td>{one[half]['expected']:.3f}<td>{one[half]['came']:.3f}" for half in ("early", "late"))
        + f"<td>{one['early']['impressions'] + one['late']['impressions']}"
        for one in rows
    ]
    return (
        "<p>What it expected of an impression by topic (mean score) beside what came (mean label), in the first "
        "and the second half of the run's impressions.</p><table><tr><th>topic<th>expected, early<th>came"
        f"<th>expected, late<th>came<th>impressions{''.join(listed)}</table>"
    )


def _example(one: Mapping[str, Any]) -> str:
    sides = []
    for name in ("before", "after"):
        slate = one[name]
        rows = "".join(
            f"<tr><td class={'mine' if row['favourite'] else 'quiet'}>{escape(row['title'])} "
            f"<span class=quiet>{escape(', '.join(row['tags']))}</span><td>{row['score']:.2f}"
            f"{' explored' if row['explored'] else ''}"
            for row in slate["rows"]
        )
        sides.append(f"<div><b>{name}</b>, version {slate['version']}<table>{rows}</table></div>")
    liked = ", ".join(one["favourites"]) or "nothing yet"
    return (
        f"<h3>{escape(one['user'])}</h3><p>{one['answers']} answers in between; liked most: {escape(liked)} "
        f"(bold below).</p><div class=pair>{''.join(sides)}</div>"
    )


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(parts: Sequence[str], label: str, wide: int = _WIDE, high: int = _HIGH) -> str:
    head = f'<svg viewBox="0 0 {wide} {high + 4}" width="{wide}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"
