"""The site builds with broken links as errors, and its reference holds everything there is."""

import logging
import re
from collections import Counter
from html import unescape

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

from streams.config import Settings
from tests.docs.commands import commands
from tests.docs.test_commands import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a strict build; a warning fails it."""
    folder = tmp_path_factory.mktemp("site")
    level = logging.getLogger("mkdocs").level
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    patch.setenv("NO_MKDOCS_2_WARNING", "1")
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    finally:
        patch.undo()
        logging.getLogger("mkdocs").setLevel(level)
    return folder


def test_the_reference_has_every_command_setting_and_metric(site):
    text = {page.stem: page.read_text() for page in (site / "reference").glob("*.html")}
    assert not [path for path, _ in commands() if f"freshloop {path}" not in text["commands"]]
    assert not [name for name in Settings.model_fields if f"FRESHLOOP_{name.upper()}" not in text["settings"]]
    for metric in ("freshloop_events_total", "freshloop_trainer_rounds_total", "freshloop_simulated_reward"):
        assert f"<code>{metric}</code>" in text["metrics"]


def test_pages_show_the_examples_that_are_tested(site):
    text = unescape(re.sub(r"<[^>]*>", "", (site / "howto/own-data.html").read_text()))
    for example in ("produce.py", "produce.sh", "consume.py", "consume.sh"):
        assert (ROOT / "docs/examples" / example).read_text().strip() in text, example


def test_no_page_is_listed_twice():
    pages = Counter(re.findall(r"[\w/-]+\.md", str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])))
    assert not [page for page, count in pages.items() if count > 1]


def test_every_setting_says_what_it_does():
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_a_broken_link_fails_the_build(tmp_path):
    from mkdocs.exceptions import Abort

    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("[gone](gone.md)")
    (tmp_path / "mkdocs.yml").write_text("site_name: s\nvalidation: {links: {not_found: warn}}\n")
    with pytest.raises(Abort):
        build(load_config(str(tmp_path / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site")))


def test_pages_name_only_files_that_there_are(site):
    """Paths in backticks under a package of ours exist."""
    import re

    wrong = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for path in re.findall(
            r"`((?:streams|model|producers|deploy|tests|docs|benchmarks)/[\w/.-]+)`", page.read_text()
        ):
            if not list(ROOT.glob(path.rstrip("/"))):
                wrong.append(f"{page.name}: {path}")
    assert not wrong, wrong
