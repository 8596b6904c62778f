"""Try it: disturb the demo and see what happens."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from nicegui import ui

from deploy import control
from deploy.console.charts import seconds
from deploy.console.sources import Sources
from streams.config import Settings

_LOG_LINES = 8
_JUMP = (
    "Every simulated viewer turns to something else at once. Watch the reward of the online model fall, and come back "
    "as states and model follow; the frozen one follows by its states alone."
)
_PAUSE = (
    "Slates go on with the version that serves; its age grows. Resumed, the trainer learns what it missed and "
    "publishes again."
)
_KILL = (
    "It dies without warning, starts again, recovers its states from store and changelog, and goes on at the very "
    "event where it stopped. Nothing is lost, nothing counts twice."
)


class Happenings:
    """Notes what changes about the parts, in words."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._parts: dict[str, dict[str, Any]] = {}
        self._gone: dict[str, float] = {}
        self._version: int | None = None

    def note(self, text: str) -> None:
        """Add a line."""
        self.lines.appendleft(f"{time.strftime('%H:%M:%S')}  {text}")

    def look(self, sources: Sources) -> None:
        """Compare with the last look."""
        parts = {one["name"]: one for one in sources.demo.get("parts", ())}
        for name, part in parts.items():
            before = self._parts.get(name)
            if before is not None and before["pid"] != part["pid"]:
                self._changed(name, before, part)
        self._parts = parts
        version = sources.health.get("model_version")
        if version is not None and self._version not in (None, version):
            self.note(f"model version {version} serves, after {self._version}")
        self._version = version if version is not None else self._version

    def _changed(self, name: str, before: dict[str, Any], part: dict[str, Any]) -> None:
        if part["pid"] is None:
            self._gone[name] = time.monotonic()
            self.note(f"{name} ended")
        elif before["pid"] is None:
            after = time.monotonic() - self._gone.pop(name, time.monotonic())
            self.note(f"{name} runs again, {after:.0f} s later")
        else:
            self.note(f"{name} was started again")


def try_page(settings: Settings, sources: Sources) -> None:
    """Draw the page."""
    happenings = Happenings()

    def ask(act: control.Act, part: str, text: str) -> None:
        control.ask(settings.data_dir, control.Ask(act, part))
        happenings.note(text)

    away = ui.label("These act on a running demo: start one with “freshloop demo”.").classes("card notice-line")
    with ui.element("div").classes("grid3 tries"):
        with ui.element("section").classes("card"):
            _about("Tastes jump", _JUMP)
            jump = ui.button("Let tastes jump", on_click=lambda: ask("jump", "simulate", "tastes jumped"))
            reward = _figures("online", "frozen", "popular")
        with ui.element("section").classes("card"):
            _about("Pause the trainer", _PAUSE)
            pause = ui.button("Pause the trainer", on_click=lambda: _toggle(sources, ask))
            model = _figures("version", "age", "waiting")
        with ui.element("section").classes("card"):
            _about("Kill a worker", _KILL)
            kill = ui.button("Kill worker-0", on_click=lambda: ask("kill", "worker-0", "killed worker-0"))
            worker = _figures("restarts", "p99", "slates/s")
    for button in (jump, pause, kill):
        button.props("flat no-caps").classes("quiet act")
    with ui.element("section").classes("card log"):
        ui.html("<h2>What happened</h2>", sanitize=False)
        lines = [ui.label("\u00a0").classes("num line") for _ in range(_LOG_LINES)]

    def refresh() -> None:
        happenings.look(sources)
        running = bool(sources.demo.get("parts"))
        away.classes(remove="gone") if not running else away.classes("gone")
        for button in (jump, pause, kill):
            button.set_enabled(running)
        pause.set_text("Resume the trainer" if _paused(sources) else "Pause the trainer")
        for figures, values in ((reward, _rewards(sources)), (model, _model(sources)), (worker, _worker(sources))):
            for name, text in values.items():
                figures[name].set_text(text)
        for number, label in enumerate(lines):
            label.set_text(happenings.lines[number] if number < len(happenings.lines) else "\u00a0")

    refresh()
    ui.timer(1.0, refresh)


def _about(title: str, text: str) -> None:
    ui.html(f"<h2>{title}</h2>", sanitize=False)
    ui.label(text).classes("about")


def _figures(*names: str) -> dict[str, ui.label]:
    found = {}
    with ui.element("div").classes("figures"):
        for name in names:
            with ui.element("div"):
                found[name] = ui.label("–").classes("value small")
                ui.label(name).classes("dim")
    return found


def _part(sources: Sources, name: str) -> dict[str, Any]:
    return next((one for one in sources.demo.get("parts", ()) if one["name"] == name), {})


def _paused(sources: Sources) -> bool:
    return bool(_part(sources, "trainer").get("paused"))


def _toggle(sources: Sources, ask: Any) -> None:
    if _paused(sources):
        ask("resume", "trainer", "resumed the trainer")
    else:
        ask("pause", "trainer", "paused the trainer")


def _rewards(sources: Sources) -> dict[str, str]:
    last = sources.looks[-1]["reward"] if sources.looks else {}
    return {arm: _short(last.get(arm)) for arm in ("online", "frozen", "popular")}


def _model(sources: Sources) -> dict[str, str]:
    versions = {one["version"]: one for one in sources.models.get("versions", ())}
    made = versions.get(sources.health.get("model_version"), {}).get("created_ms")
    newest = max(
        (looked for looked in (_gauge(sources, "freshloop_trainer_waiting_examples"),) if looked is not None),
        default=None,
    )
    now_ms = sources.now_ms()
    return {
        "version": str(sources.health.get("model_version", "–")),
        "age": seconds((now_ms - made) / 1000) if made else "–",
        "waiting": "–" if newest is None else f"{newest:,.0f}",
    }


def _worker(sources: Sources) -> dict[str, str]:
    last = sources.looks[-1] if sources.looks else {}
    return {
        "restarts": str(_part(sources, "worker-0").get("restarts", "–")),
        "p99": seconds(last.get("p99")),
        "slates/s": "–" if not last else f"{last['slates']:,.0f}",
    }


def _gauge(sources: Sources, name: str) -> float | None:
    return next((value for one in sources.samples() for (found, _), value in one.items() if found == name), None)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
