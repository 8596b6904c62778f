"""Loop: throughput, freshness, reward and model versions, with promotion and rollback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from deploy.console.api import Api, ApiDown, ApiRefused
from deploy.console.charts import ARM_COLOURS, bars, lines, seconds
from deploy.console.experiment import experiment_card
from deploy.console.sources import FRESHNESS, Sources

_TILES = (
    ("events", "events/s"),
    ("slates", "slates/s"),
    ("feedback", "feedback/s"),
    ("p50", "event → slate p50"),
    ("p99", "event → slate p99"),
    ("videos", "fresh videos"),
    ("version", "model version"),
    ("dead", "dead letters"),
)
_RATE_COLOURS = {"events": "#5eead4", "slates": "#60a5fa", "feedback": "#fbbf24"}
SHOWN_VERSIONS = 12


def loop_page(api: Api, sources: Sources) -> None:
    """Draw the page; it is brought up to date once a second in place."""
    tiles: dict[str, ui.label] = {}
    with ui.element("div").classes("tiles"):
        for name, text in _TILES:
            with ui.element("div").classes("card tile"):
                tiles[name] = ui.label("–").classes("value")
                ui.label(text).classes("dim")
    with ui.element("div").classes("grid2"):
        with ui.element("section").classes("card"):
            _heading("Throughput", "per second")
            throughput = ui.echart(lines(_RATE_COLOURS)).classes("chart")
            ui.label("Events in; slates and feedback out.").classes("dim share")
        with ui.element("section").classes("card"):
            _heading("Reward by arm", "mean of the last minute")
            reward = ui.echart(lines(ARM_COLOURS)).classes("chart")
            share = ui.label("").classes("dim share")
    with ui.element("section").classes("card"):
        _heading("Freshness", "last minute; the four delays of every slate's contract")
        histograms = {}
        with ui.element("div").classes("grid4"):
            for text, metric in FRESHNESS.items():
                with ui.element("div"):
                    ui.label(text).classes("sub")
                    note = ui.label("–").classes("dim num")
                    histograms[metric] = (ui.echart(bars()).classes("chart small"), note)
    experiment_card()
    versions = _versions(api, sources)  # last, because it grows while one reads

    def refresh() -> None:
        if not sources.looks:
            return
        last, looks = sources.looks[-1], list(sources.looks)
        for name, label in tiles.items():
            label.set_text(_tile(name, last.get(name)))
        _draw(throughput, looks, {name: [row[name] for row in looks] for name in _RATE_COLOURS})
        _draw(reward, looks, {arm: [row["reward"].get(arm) for row in looks] for arm in ARM_COLOURS})
        share.set_text(_share(sources.simulated))
        for metric, (chart, note) in histograms.items():
            _fill(chart, note, *sources.histogram(metric))
        versions()

    ui.timer(1.0, refresh)


def _heading(text: str, note: str) -> ui.label:
    with ui.element("div").classes("row between"):
        ui.html(f"<h2>{text}</h2>", sanitize=False)
        return ui.label(note).classes("dim")


def _tile(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name in ("p50", "p99"):
        return seconds(value)
    return f"{value:,.0f}"


def _share(simulated: dict[str, Any]) -> str:
    """Say how far each arm is on the way from random to the best possible."""
    found = simulated.get("reward_share") or {}
    intervals = simulated.get("reward_share_interval") or {}
    parts = []
    for arm in ARM_COLOURS:
        value, between = found.get(arm), intervals.get(arm)
        if value is not None and arm != "oracle":
            spread = f" [{between[0]:.2f}, {between[1]:.2f}]" if between and None not in between else ""
            parts.append(f"{arm} {value:.2f}{spread}")
    return ("Share of the way from random to the oracle: " + ", ".join(parts)) if parts else "No simulation runs here."


def _draw(chart: ui.echart, looks: list[dict[str, Any]], values: dict[str, list[Any]]) -> None:
    options = chart.options
    options["xAxis"]["data"] = [row["clock"] for row in looks]
    for series in options["series"]:
        series["data"] = values[series["name"]]
    chart.update()


def _fill(chart: ui.echart, note: ui.label, buckets: dict[float, float], p50: float | None, p99: float | None) -> None:
    finite = [(bound, count) for bound, count in buckets.items() if bound != float("inf")]
    chart.options["xAxis"]["data"] = [seconds(bound) for bound, _ in finite]
    chart.options["series"][0]["data"] = [count for _, count in finite]
    chart.update()
    note.set_text(f"p50 {seconds(p50)} · p99 {seconds(p99)}")


def _versions(api: Api, sources: Sources) -> Callable[[], None]:
    """Draw the table of versions; return what brings it up to date when it has changed."""
    with ui.element("section").classes("card"):
        with ui.element("div").classes("row between"):
            ui.html("<h2>Model versions</h2>", sanitize=False)
            back = ui.button("Roll back one").props("flat no-caps").classes("quiet")
        table = ui.element("div").classes("versions").props('role="table" aria-label="Model versions"')
    known: dict[str, Any] = {}

    async def choose(version: int | None, text: str) -> None:
        if not await _confirm(text):
            return
        try:
            done = await api.post("/v1/models/current", {"version": version, "reason": "from the console"})
        except (ApiDown, ApiRefused) as error:
            ui.notify(str(error), type="negative", position="top")
            return
        sources.models = {}
        ui.notify(
            f"Version {done['version']} serves as of epoch {done['epoch']}; before it {done['was']}", position="top"
        )

    back.on_click(lambda: choose(None, "Go back to the parent of the version that serves?"))

    def refresh() -> None:
        models = sources.models
        facts = {"versions": models.get("versions"), "serving": models.get("serving"), "epoch": models.get("epoch")}
        if not models or facts == known:
            return
        known.update(facts)
        table.clear()
        with table:
            _rows(models, choose)

    return refresh


def _rows(models: dict[str, Any], choose: Callable[[int | None, str], Any]) -> None:
    with ui.element("div").classes("vrow vhead dim").props('role="row"'):
        for text in ("version", "parent", "learned from", "log-loss", "difference", "verdict", ""):
            ui.label(text).props('role="columnheader"')
    for version in list(reversed(models["versions"]))[:SHOWN_VERSIONS]:
        number, serving = version["version"], version["version"] == models["serving"]
        with ui.element("div").classes("vrow" + (" serving" if serving else "")).props('role="row"'):
            for text in _cells(version, models):
                ui.label(text).props('role="cell"').classes("num")
            if serving:
                ui.label("serves").classes("badge")
            elif version.get("why_not") is None:
                text = f"Put version {number} into service instead of {models['serving']}?"
                button = ui.button("Promote", on_click=lambda n=number, t=text: choose(n, t))
                button.props(f'flat no-caps aria-label="Promote version {number}"').classes("quiet small")
            else:
                ui.label("")


def _cells(version: dict[str, Any], models: dict[str, Any]) -> tuple[str, ...]:
    judged = version.get("evaluation") or {}
    loss, between = judged.get("candidate_loss"), judged.get("interval")
    frozen = " · frozen arm" if models.get("frozen") == version["version"] else ""
    words = {
        "refused": judged.get("reason") or "refused",
        "serving": "accepted",
        "gone": "accepted; weights no longer kept",
    }
    state = version.get("state", "")
    verdict = "made from the seed" if version["version"] == 0 else words.get(state, state)
    return (
        f"v{version['version']}",
        f"v{version['parent']}" if version["version"] else "",
        f"{version.get('trained_through', 0):,}",
        "" if loss is None else f"{loss:.4f}",
        "" if not between else f"{between[0]:+.4f} … {between[1]:+.4f}",
        verdict + frozen,
    )


async def _confirm(text: str) -> bool:
    with ui.dialog() as dialog, ui.card().classes("confirm"):
        ui.label(text)
        with ui.row():
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat no-caps").classes("quiet")
            ui.button("Yes", on_click=lambda: dialog.submit(True)).props("flat no-caps autofocus").classes("quiet go")
    answer = await dialog
    dialog.delete()
    return bool(answer)
