"""The pages: their frame, and the two that scripts of ours draw (Feed and Why)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nicegui import ui

from deploy.console.api import Api
from deploy.console.loop_page import loop_page
from deploy.console.sources import Sources
from deploy.console.try_page import try_page
from streams.config import Settings

STATIC = Path(__file__).with_name("static")
PAGES = (("/", "Feed"), ("/why", "Why"), ("/loop", "Loop"), ("/try", "Try it"))
_HEAD = """
<link rel="stylesheet" href="/static/console.css">
<meta name="theme-color" content="#0b0e11">
<script type="module" src="/static/common.js"></script>
"""


@contextmanager
def frame(title: str, script: str = "") -> Iterator[None]:
    """Draw what all pages share around the one inside."""
    ui.page_title(f"{title} · Freshloop")
    ui.add_head_html(_HEAD + (f'<script type="module" src="/static/{script}"></script>' if script else ""))
    ui.query(".nicegui-content").classes("fl-content")
    links = "".join(
        f'<a href="{path}" {"aria-current=page" if name == title else ""}>{name}</a>' for path, name in PAGES
    )
    ui.html(
        f'<header class="fl-top"><a class="fl-brand" href="/"><i></i>Freshloop</a><nav aria-label="Pages">{links}</nav>'
        '<span class="fl-status" id="fl-status" role="status"><b></b><span>connecting</span></span></header>'
        '<div class="fl-banner" id="fl-banner" role="alert" hidden></div>',
        sanitize=False,
    ).classes("fl-frame")
    with ui.element("main").classes("fl-main"):
        yield


def mount_pages(settings: Settings, api: Api, sources: Sources) -> None:
    """Declare the pages to NiceGUI."""

    @ui.page("/")
    def feed() -> None:
        with frame("Feed", "feed.js"):
            ui.html(_part("feed.html"), sanitize=False).classes("fl-host")

    @ui.page("/why")
    def why() -> None:
        with frame("Why", "why.js"):
            ui.html(_part("why.html"), sanitize=False).classes("fl-host")

    @ui.page("/loop")
    def loop() -> None:
        with frame("Loop"):
            loop_page(api, sources)

    @ui.page("/try")
    def things_to_try() -> None:
        with frame("Try it"):
            try_page(settings, sources)


def _part(name: str) -> str:
    return (STATIC / name).read_text("utf-8")
