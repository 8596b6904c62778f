"""The running experiment, as `freshloop experiment` tells of it: asked for by a button, since it reads all feedback."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from nicegui import ui

from deploy.console.charts import ARM_COLOURS

COMMAND = (sys.executable, "-m", "streams.main", "experiment", "--json")
TIMEOUT_S = 60.0


async def look(command: Sequence[str] = COMMAND) -> dict[str, Any] | str:
    """Return the experiment's result, or the sentence that says why there is none."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"nothing came of it within {TIMEOUT_S:.0f} seconds"
    if process.returncode:
        lines = err.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("freshloop: ") if lines else f"it ended with code {process.returncode}"
    found: dict[str, Any] = json.loads(out.decode().strip().splitlines()[-1])
    return found


def experiment_card() -> None:
    """Draw the section; nothing in it moves but after its button."""
    with ui.element("section").classes("card"):
        with ui.element("div").classes("row between"):
            ui.html("<h2>Experiment</h2>", sanitize=False)
            button = ui.button("Look now").props("flat no-caps").classes("quiet")
        ui.label("Arms against online, from all feedback that is kept; intervals hold at every look.").classes("dim")
        table = ui.element("div").classes("versions").props('role="table" aria-label="Experiment"')

    async def show() -> None:
        button.disable()
        found = await look()
        button.enable()
        table.clear()
        with table:
            if isinstance(found, str):
                ui.label(found).classes("dim")
            else:
                _rows(found)

    button.on_click(show)


def _rows(found: dict[str, Any]) -> None:
    heads = ("arm", "users", "labels", "mean label", "less control", "95 %", "settled")
    for cells in (heads, *(cells_of(arm, found) for arm in found["arms"])):
        head = " vhead dim" if cells is heads else ""
        with ui.element("div").classes(f"vrow{head}").props('role="row"'):
            for text in cells:
                cell = ui.label(text).props(f'role="{"columnheader" if head else "cell"}"').classes("num")
                if text in ARM_COLOURS and not head:
                    cell.style(f"color:{ARM_COLOURS[text]}")


def cells_of(arm: str, found: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of an arm."""
    mean, gap = found["arms"][arm], found["differences"].get(arm)
    first = (arm, f"{mean['users']:,}", f"{mean['labels']:,}", f"{mean['mean_label']:.4f}")
    if gap is None:
        return (*first, "control", "", "")
    between = "" if gap["low"] is None else f"{gap['low']:+.4f} … {gap['high']:+.4f}"
    value = "" if gap["value"] is None else f"{gap['value']:+.4f}"
    return (*first, value, between, "yes" if gap["settled"] else "not yet")
