"""The console in a real browser, before a real worker and broker."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from deploy.supervisor import ChildSpec
from model.config import model_config
from model.manifest import Evaluation, Manifest
from model.publish import current_record, records
from model.topic import send
from model.weights import initial, to_bytes
from streams.codecs import Decoder
from streams.core.events import Event, EventType, Kind, Video
from streams.topics import Topics
from tests.conftest import free_ports
from tests.integration.test_worker import fresh, now_ms
from tests.running import environment, publish, read, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

event_of = Decoder(Event)
LOOSE = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    message = "no Chromium is installed for the browser tests: run 'make tools' as root, or install it"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def page_at(port, **options):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=LOOSE)
        page = browser.new_context(**options).new_page()
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/")
        yield page
        browser.close()
        assert faults == []


def console_spec(settings):
    def ready():
        try:
            return httpx.get(f"http://127.0.0.1:{settings.console_port}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    argv = (sys.executable, "-m", "streams.main", "console")
    return ChildSpec("console", argv, environment(settings), restart="never", ready=ready, ready_timeout_s=60)


def publish_versions(settings, count):
    for number in range(1, count + 1):
        config = model_config(settings.model_copy(update={"model_seed": number + 1}))
        manifest = Manifest(
            name="default", version=number, parent=number - 1, config=model_config(settings), trained_through=number,
            created_ms=now_ms(), evaluation=Evaluation(accepted=True, candidate_loss=0.5, incumbent_loss=0.6),
        )  # fmt: skip
        current = current_record("default", number, number, "better")
        send(settings, [records(manifest, to_bytes(initial(config))), [current]])


@pytest.fixture
def stack(broker, make_settings):
    metrics, http, console = free_ports(3)
    settings = make_settings(metrics_port=metrics, http_port=http, console_port=console, partitions=2)
    spec = worker_spec(settings, http_port=http)
    with running(settings, spec, console_spec(settings)) as parts:
        publish(settings, videos=fresh(60))
        publish_versions(settings, 2)
        yield settings, parts, spec


def slate_of(page):
    return page.locator("article.clip").last.get_attribute("data-slate")


def test_every_page_a_swipe_a_rollback_and_a_lost_connection(stack):
    settings, parts, spec = stack
    with page_at(settings.console_port, viewport={"width": 1280, "height": 900}) as page:
        a_swipe_changes_the_next_slate(page)
        why_says_what_it_rests_on(page, settings)
        a_rollback_needs_a_yes(page, settings)
        expect_page(page, settings, "try", "These act on a running demo")
        a_lost_connection_comes_back(page, settings, parts, spec)


def a_swipe_changes_the_next_slate(page):
    expect(page.locator("article.clip")).to_have_count(1, timeout=20_000)
    expect(page.locator("#queue li").first).to_contain_text("a")
    first, seen = slate_of(page), page.locator("article.clip").get_attribute("data-video")
    page.keyboard.press("l")
    expect(page.locator("#b-like")).to_have_class("on")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("s => [...document.querySelectorAll('article.clip')].at(-1).dataset.slate !== s", arg=first)
    expect(page.locator("#time")).not_to_contain_text("–")
    assert seen not in page.locator("article.clip").last.get_attribute("data-video")
    second = slate_of(page)
    box = page.locator("#phone").bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 400)
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 150, steps=5)
    page.mouse.up()
    page.wait_for_function("s => [...document.querySelectorAll('article.clip')].at(-1).dataset.slate !== s", arg=second)


def why_says_what_it_rests_on(page, settings):
    user = page.locator("#viewer").input_value()
    page.keyboard.press("w")
    expect(page.locator("#events li")).to_have_count(2, timeout=20_000)
    expect(page.locator("#events")).to_contain_text("like")
    expect(page.locator("#items li")).to_have_count(settings.slate_size)
    expect(page.locator("#map .step")).to_have_count(3)
    assert page.locator("#viewer").input_value() == user


def serving(settings):
    return httpx.get(f"http://127.0.0.1:{settings.http_port}/v1/models", timeout=10).json()["serving"]


def a_rollback_needs_a_yes(page, settings):
    page.goto(f"http://127.0.0.1:{settings.console_port}/loop")
    expect(page.locator(".vrow.serving [role=cell]").first).to_have_text("v2", timeout=20_000)
    page.get_by_role("button", name="Look now").click()
    expect(page.get_by_role("table", name="Experiment")).to_contain_text("online", timeout=60_000)
    page.get_by_role("button", name="Roll back one").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".confirm")).to_have_count(0)
    assert serving(settings) == 2
    page.get_by_role("button", name="Roll back one").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".vrow.serving [role=cell]").first).to_have_text("v1", timeout=20_000)
    assert serving(settings) == 1
    page.get_by_role("button", name="Promote version 2").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".vrow.serving [role=cell]").first).to_have_text("v2", timeout=20_000)
    expect(page.locator(".tile .value").nth(6)).to_have_text("2", timeout=20_000)


def expect_page(page, settings, path, text):
    page.goto(f"http://127.0.0.1:{settings.console_port}/{path}")
    expect(page.get_by_text(text)).to_be_visible(timeout=20_000)


def a_lost_connection_comes_back(page, settings, parts, spec):
    page.goto(f"http://127.0.0.1:{settings.console_port}/?user=eve")
    expect(page.locator("article.clip")).to_have_count(1, timeout=20_000)
    before = slate_of(page)
    parts.kill(spec.name, signal.SIGKILL)
    expect(page.locator("#fl-banner")).to_be_visible(timeout=20_000)
    page.keyboard.press("ArrowUp")
    expect(page.locator("#notice")).to_contain_text("Swipe again in a moment")
    while spec.name in parts.running():
        parts.poll(0.1)
    parts.poll(0.2)
    parts.start(spec)
    expect(page.locator("#fl-banner")).to_be_hidden(timeout=40_000)
    page.keyboard.press("ArrowUp")
    page.wait_for_function("s => [...document.querySelectorAll('article.clip')].at(-1).dataset.slate !== s", arg=before)


def test_on_a_phone_nothing_overflows_and_a_touch_swipes(stack):
    settings, _, _ = stack
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with page_at(settings.console_port, **phone) as page:
        expect(page.locator("article.clip")).to_have_count(1, timeout=20_000)
        page.locator("#b-skip").tap()
        expect(page.locator("#pill-time")).to_contain_text("ms", timeout=20_000)
        for path in ("", "why", "loop", "try"):
            page.goto(f"http://127.0.0.1:{settings.console_port}/{path}")
            expect(page.locator("#fl-status")).to_have_class("fl-status ok", timeout=20_000)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_reaches_everything_and_nothing_moves_while_one_reads(stack):
    settings, _, _ = stack
    with page_at(settings.console_port, viewport={"width": 1280, "height": 900}) as page:
        expect(page.locator("article.clip")).to_have_count(1, timeout=20_000)
        reached = set()
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert {"Feed", "Why", "Loop", "Try it", "phone", "b-like", "b-skip", "b-hide", "b-new", "viewer"} <= reached
        page.goto(f"http://127.0.0.1:{settings.console_port}/loop")
        expect(page.locator(".vrow.serving")).to_be_visible(timeout=20_000)
        where = "[...document.querySelectorAll('.card')].map(e => Math.round(e.getBoundingClientRect().top))"
        before = page.evaluate(where)
        page.wait_for_timeout(2500)
        assert page.evaluate(where) == before


def test_a_foreign_page_cannot_send_events(stack):
    settings, _, _ = stack
    url = f"http://127.0.0.1:{settings.console_port}"
    assert httpx.post(f"{url}/c/events", json={}).status_code == 422  # without the header
    assert httpx.get(f"{url}/c/health", headers={"host": "evil.example"}).status_code == 400
    assert httpx.get(f"{url}/c/clip", params={"ref": "/etc/passwd"}).status_code == 404
    assert httpx.get(f"{url}/c/clip", params={"ref": "../../etc/x.mp4"}).status_code == 404


def test_a_product_has_a_price_and_can_be_bought(broker, make_settings):
    metrics, http, console = free_ports(3)
    settings = make_settings(metrics_port=metrics, http_port=http, console_port=console, partitions=1)
    product = Video(
        video_id="p1", author_id="a", published_ms=now_ms(), kind=Kind.PRODUCT, title="Scratching post", price=39.9,
        currency="EUR", stock=3,
    )  # fmt: skip
    with running(settings, worker_spec(settings, http_port=http), console_spec(settings)):
        publish(settings, videos=[product])
        with page_at(console) as page:
            expect(page.locator("article.clip .kind")).to_have_text("39.90 EUR, 3 left", timeout=20_000)
            page.get_by_role("button", name="Buy").click()
            events = read(
                settings, Topics(settings).events, lambda found: b"purchase" in b"".join(r.value for r in found)
            )
    bought = [one for one in (event_of(record.value) for record in events) if one.type is EventType.PURCHASE]
    assert [(one.video_id, one.position) for one in bought] == [("p1", 0)]
