"""Options of the charts (ECharts), in the console's colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARM_COLOURS = {
    "online": "#5eead4",
    "frozen": "#60a5fa",
    "popular": "#fbbf24",
    "random": "#94a3b8",
    "oracle": "#c4b5fd",
}
_DIM, _LINE = "#8b97a5", "#222a33"
_AXIS: dict[str, Any] = {
    "axisLine": {"lineStyle": {"color": _LINE}},
    "axisTick": {"show": False},
    "axisLabel": {"color": _DIM, "fontSize": 11},
    "splitLine": {"lineStyle": {"color": _LINE}},
}


def lines(colours: Mapping[str, str]) -> dict[str, Any]:
    """Return a chart of one line a name over the time of day."""
    return {
        "animation": False,
        "grid": {"left": 44, "right": 12, "top": 34, "bottom": 24},
        "legend": {"top": 0, "left": 0, "itemWidth": 14, "itemHeight": 3, "icon": "rect", "textStyle": {"color": _DIM}},
        "tooltip": {"trigger": "axis", "backgroundColor": "#161b21", "borderColor": _LINE,
                    "textStyle": {"color": "#e7ecf1"}},
        "xAxis": {"type": "category", "data": [], "boundaryGap": False, **_AXIS, "splitLine": {"show": False}},
        "yAxis": {"type": "value", "splitNumber": 3, **_AXIS},
        "series": [
            {"name": name, "type": "line", "data": [], "showSymbol": False, "color": colour,
             "lineStyle": {"width": 1.8}}
            for name, colour in colours.items()
        ],
    }  # fmt: skip


def bars() -> dict[str, Any]:
    """Return a small histogram."""
    return {
        "animation": False,
        "grid": {"left": 4, "right": 4, "top": 6, "bottom": 20},
        "xAxis": {"type": "category", "data": [], **_AXIS, "splitLine": {"show": False}},
        "yAxis": {"type": "value", "show": False},
        "series": [{"type": "bar", "data": [], "color": "#5eead4", "barCategoryGap": "12%",
                    "itemStyle": {"borderRadius": [2, 2, 0, 0]}}],
    }  # fmt: skip


def seconds(value: float | None) -> str:
    """Return a duration for a person."""
    if value is None:
        return "–"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"
