"""The examples of the documentation, run as they are, and a collector that is killed with SIGKILL."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.admin import create_topics
from streams.codecs import Decoder
from streams.config import environment
from streams.core.events import Slate, Video
from streams.main import app
from streams.topics import Topics
from tests.paged_api import PagedApi, items, serving
from tests.running import read, read_all, running, worker_spec

pytestmark = pytest.mark.integration
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NO_KCAT = None if shutil.which("kcat") else "kcat is not installed; 'make tools' installs it on Debian"


def example(name, settings, user):
    command = [sys.executable] if name.endswith(".py") else []
    done = subprocess.run(
        [*command, str(EXAMPLES / name), settings.bootstrap, user, settings.topic_prefix],
        capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def slates_of(settings, user):
    decode = Decoder(Slate)
    found = read(settings, Topics(settings).recommendations, lambda rows: any(r.key == user.encode() for r in rows))
    return [slate for row in found if (slate := decode(row.value)).user_id == user]


def test_produced_and_consumed_with_other_tools(broker, make_settings):
    assert NO_KCAT is None or not os.environ.get("CI"), NO_KCAT
    settings = make_settings()
    with running(settings, worker_spec(settings)):
        example("produce.py", settings, "by-python")
        (slate,) = slates_of(settings, "by-python")
        shown = [line.split() for line in example("consume.py", settings, "by-python").splitlines()]
        assert [video for video, _ in shown] == list(slate.video_ids)
        reported = CliRunner().invoke(
            app, ["report", "--cluster", "--out", str(settings.data_dir / "r.html")], env=environment(settings)
        )
        assert reported.exit_code == 0, reported.output
        assert "1 slates and 0 impressions" in (settings.data_dir / "r.html").read_text()
        if NO_KCAT:
            pytest.skip(NO_KCAT)
        example("produce.sh", settings, "by-kcat")
        (slate,) = slates_of(settings, "by-kcat")
        assert json.loads(example("consume.sh", settings, "by-kcat"))["video_ids"] == list(slate.video_ids)
        assert not read_all(settings, Topics(settings).dead_letters)


def test_examples_are_short():
    for path in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.sh")]:
        assert len(path.read_text().splitlines()) <= 20, path.name


#: The command, killed the first time that a page is published and not yet stored.
KILLED = """
import os, signal, sys
from producers import cursor
cursor.CursorStore.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from streams.main import main
sys.argv = ["freshloop", *sys.argv[1:]]
main()
"""


def test_a_collector_killed_while_it_publishes_publishes_each_record_once(broker, make_settings, tmp_path):
    settings = make_settings()
    create_topics(settings)
    api = PagedApi(items(60), size=20, overlap=2)
    mapping, text = tmp_path / "videos.toml", (EXAMPLES / "collect-videos.toml").read_text()
    env = os.environ | environment(settings)
    with serving(api) as url:
        mapping.write_text(
            text.replace("http://127.0.0.1:8000/open/video/list", url).replace("rate = 5.0", "rate = 500.0")
        )
        killed = subprocess.run([sys.executable, "-c", KILLED, "collect", str(mapping)], env=env, timeout=60)
        api.faults = [503, "cut"]
        command = [sys.executable, "-m", "streams.main", "collect", str(mapping), "--json"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert killed.returncode == -signal.SIGKILL
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["recovered"], result["published"], result["retries"]) == (20, 40, 2)
    ids = [Decoder(Video)(row.value).video_id for row in read_all(settings, Topics(settings).videos)]
    assert sorted(ids) == sorted(item["item_id"] for item in api.items)
