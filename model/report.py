"""The HTML page of an evaluation: tables, and curves per day, per user history and per video age, in plain SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

_COLOURS = {"frozen": "#7a8699", "online": "#d1495b"}
_WIDTH, _HEIGHT, _LEFT, _FOOT = 560, 220, 48, 36
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #e3e6ea}
td:first-child,th:first-child{text-align:left}svg{display:block;margin:.5rem 0}text{font-size:12px;fill:#444}
@media(prefers-color-scheme:dark){body{background:#15181d;color:#e6e8eb}text{fill:#c8ccd2}}"""


def write_report(result: dict[str, Any], folder: Path) -> Path:
    """Write `index.html` into a folder that is made when it is missing; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(page(result), "utf-8")
    return path


def page(result: dict[str, Any]) -> str:
    """Return the page of the figures that `freshloop evaluate --json` prints."""
    curves = [
        _curve(title, result.get(key, []), label)
        for title, key, label in (
            ("Recall@20 per day", "per_day", "day"),
            ("Recall@20 per stream", "per_stream", "stream"),
            ("Recall@20 by events of the user before", "per_history", "events_before"),
            ("Recall@20 by exposures of the video before", "per_video_exposures", "exposures_before"),
        )
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Freshloop evaluation</title><style>{STYLE}</style>"
        f"<h1>Evaluation, {escape(str(result['format']))}</h1>"
        f"<p>{result['online']['targets']} targets, seeds {escape(str(result['seeds']))}, {result['seconds']} s; "
        f"online over frozen {result['online_over_frozen']}. Bars are 95 % intervals from a bootstrap over users.</p>"
        f"{_table(result)}{''.join(curves)}</html>\n"
    )


def _table(result: dict[str, Any]) -> str:
    systems = {"whole": {arm: result[arm] for arm in _COLOURS}, "blend, no GRU": result["blend"], **result["baselines"]}
    rows = [
        f"<tr><td>{escape(name)}, {arm}<td>{got['recall_at_20']:.4f}<td>{got['mrr_at_20']:.4f}"
        f"<td>{got['ndcg_at_10']:.4f}"
        for name, arms in systems.items() for arm, got in arms.items()
    ]  # fmt: skip
    return f"<table><tr><th>system<th>Recall@20<th>MRR@20<th>NDCG@10{''.join(rows)}</table>"


def _curve(title: str, entries: Sequence[dict[str, Any]], label: str) -> str:
    if not entries:
        return ""
    tops = [entry[arm]["intervals"]["recall_at_20"][1] or 0.0 for entry in entries for arm in _COLOURS]
    top = max(*tops, 1e-3) * 1.1
    step = (_WIDTH - _LEFT) / len(entries)

    def y(value: float) -> float:
        return (_HEIGHT - _FOOT) * (1 - value / top)

    parts = [f'<text x="0" y="{y(share * top) + 4:.1f}">{share * top:.3f}</text>' for share in (0.0, 0.5, 0.9)]
    for shift, (arm, colour) in enumerate(_COLOURS.items()):
        points = []
        for place, entry in enumerate(entries):
            x = _LEFT + step * (place + 0.5) + 6 * shift
            got = entry[arm]
            low, high = got["intervals"]["recall_at_20"]
            points.append(f"{x:.1f},{y(got['recall_at_20']):.1f}")
            parts.append(f'<path d="M{x:.1f} {y(low):.1f}V{y(high):.1f}" stroke="{colour}"/>')
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{_LEFT + 90 * shift}" y="{_HEIGHT}" style="fill:{colour}">{arm}</text>')
    for place, entry in enumerate(entries):
        text = escape(str(entry[label]))
        parts.append(f'<text x="{_LEFT + step * place:.1f}" y="{_HEIGHT - _FOOT + 16}">{text[:14]}</text>')
    return f'<h2>{escape(title)}</h2><svg width="{_WIDTH}" height="{_HEIGHT}" role="img">{"".join(parts)}</svg>'
