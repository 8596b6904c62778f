"""A bar chart as a small SVG, from named values or from what `freshloop bench ... --json` printed.

python -m benchmarks.picture pipeline.json "Events per second, one worker" limit,freshloop,quixstreams,bytewax out.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

WIDTH, BAR, GAP, LEFT, RIGHT, TOP = 720, 22, 10, 170, 200, 40


Rows = Sequence[tuple[str, float, str]]  # label, value, text


def bars(title: str, rows: Rows) -> str:
    """Return an SVG with a bar for each (label, value, text)."""
    return panels([(title, rows)])


def panels(charts: Sequence[tuple[str, Rows]]) -> str:
    """Return an SVG with several bar charts, one below the other, each on a scale of its own."""
    heights = [TOP + len(rows) * (BAR + GAP) for _, rows in charts]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {sum(heights)}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{sum(heights)}" fill="#fff"/>',
    ]
    top = 0
    for (title, rows), height in zip(charts, heights, strict=True):
        out += _chart(title, rows, top)
        top += height
    return "\n".join([*out, "</svg>", ""])


def _chart(title: str, rows: Rows, top: int) -> list[str]:
    most = max(value for _, value, _ in rows)
    out = [f'<text x="8" y="{top + 22}" font-size="15">{escape(title)}</text>']
    for number, (label, value, text) in enumerate(rows):
        y, wide = top + TOP + number * (BAR + GAP), (WIDTH - LEFT - RIGHT) * max(value, 0.0) / most
        out += [
            f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="#0a7d74"/>',
            f'<text x="{LEFT + wide + 6:.1f}" y="{y + 16}">{escape(text)}</text>',
        ]
    return out


def main(source: str, title: str, names: str, target: str) -> None:
    """Write the picture of some values of a result; the spread of its rounds stands beside each, where it is there."""
    found = json.loads(Path(source).read_text().splitlines()[-1])
    spread = found.get("spread", {})
    rows = []
    for name in names.split(","):
        low, high = spread.get(name, (None, None))
        text = f"{found[name]:,}" + (f" ({low:,} to {high:,})" if low is not None else "")
        rows.append((name, float(found[name]), text))
    Path(target).write_text(bars(title, rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
