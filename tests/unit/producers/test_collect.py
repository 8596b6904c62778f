"""The collector against a local API that fails, repeats and throttles, and killed at every step."""

import tomllib
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from producers.collect import Collector
from producers.cursor import CursorStore
from producers.mapping import Mapping, at, load_mapping
from producers.paging import Pages
from streams.codecs import BadRecord
from streams.config import ConfigError
from streams.core.events import EventType, Kind, Source
from tests.paged_api import PagedApi, items, serving

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


class Killed(BaseException):
    pass


class MemoryLog:
    """A topic of one partition; `kill_after` records a kill comes."""

    def __init__(self):
        self.records, self.kill_after, self.kill_at_flush = [], None, False

    def ends(self):
        return {0: len(self.records)}

    def published(self, since):
        return [(record_id, digest) for record_id, digest, _ in self.records[since[0] :]]

    def send(self, record, record_id, digest):
        if self.kill_after == len(self.records):
            raise Killed
        self.records.append((record_id, digest, record))

    def flush(self):
        if self.kill_at_flush:
            raise Killed

    @property
    def ids(self):
        return [record_id for record_id, _, _ in self.records]


class HandClock:
    """Time that only sleeping moves."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def mapping_of(url, **changes):
    text = tomllib.loads((EXAMPLES / "collect-videos.toml").read_text())
    return msgspec.convert(text | {"url": url} | changes, type=Mapping)


def run(tmp_path, url, log, clock=None, token="", pages=0, said=None, **changes):
    """Collect to the last page, or until a kill; return the counts."""
    mapping, clock = mapping_of(url, **changes), clock or HandClock()
    said = [] if said is None else said
    with (
        CursorStore(tmp_path / "videos.sqlite") as store,
        closing(Pages(mapping, token, clock, clock.sleep, said.append)) as source,
    ):
        collector = Collector(mapping, source, log, store, said.append)
        collector.recover()
        while collector.step() and not (pages and collector.collected.pages >= pages):
            pass
        return collector.collected


def test_every_item_comes_once_though_the_api_fails_repeats_and_throttles(tmp_path):
    api, log, clock, said = PagedApi(items(95), overlap=3), MemoryLog(), HandClock(), []
    api.faults = [503, "cut", "text", 429]
    with serving(api) as url:
        found = run(tmp_path, url, log, clock, said=said)
    assert log.ids == [item["item_id"] for item in api.items]
    assert (found.pages, found.published, found.repeated, found.retries) == (10, 95, 27, 4)
    assert 2.0 in clock.slept  # as Retry-After says
    assert len(said) == 4
    assert "answers 503" in said[0]


def test_a_record_is_what_the_mapping_says(tmp_path):
    api, log = PagedApi(items(1)), MemoryLog()
    with serving(api) as url:
        run(tmp_path, url, log)
    record = log.records[0][2]
    assert (record.video_id, record.author_id, record.kind) == ("7000000000000000000", "a0", Kind.VIDEO)
    assert (record.tags, record.music_id, record.duration_ms) == (("cats", "t0"), "12", 12_500)
    assert record.published_ms == 1_795_536_000_000


def test_behaviour_by_post():
    mapping = load_mapping(EXAMPLES / "collect-events.toml")
    item = {"log_id": 5, "user": {"open_id": "u"}, "item_id": "v", "time": 1_795_536_000_000, "play_seconds": 8.2,
            "video_seconds": 10, "action": "play_end"}  # fmt: skip
    event = mapping.record(item)
    assert (event.event_id, event.type, event.watch_ms, event.source) == ("5", EventType.WATCH, 8200, Source.ORGANIC)
    with pytest.raises(BadRecord, match="'stare' is not in the map"):
        mapping.record(item | {"action": "stare"})


def people(count):
    return [
        {
            "open_id": f"person-{number}", "update_time": 1_795_536_000, "age": 1 + number % 3,
            "location": {"province": "north"} if number % 2 else {}, "interests": [{"name": "cats"}, {"name": "tea"}],
        }
        for number in range(count)
    ]  # fmt: skip


def collect_profiles(tmp_path, api, log, rename=str):
    mapping, clock = load_mapping(EXAMPLES / "collect-profiles.toml"), HandClock()
    with (
        serving(api) as url,
        CursorStore(tmp_path / "profiles.sqlite") as store,
        closing(Pages(msgspec.structs.replace(mapping, url=url), "", clock, clock.sleep, lambda text: None)) as source,
    ):
        collector = Collector(mapping, source, log, store, lambda text: None, rename)
        collector.recover()
        while collector.step():
            pass
        return collector.collected


def test_profiles_come_once_though_the_api_fails_repeats_and_throttles(tmp_path):
    api, log = PagedApi(people(45), overlap=3), MemoryLog()
    api.faults = [503, "cut", "text", 429]
    found = collect_profiles(tmp_path, api, log)
    assert (found.published, found.repeated, found.retries, found.invalid) == (45, 12, 4, 0)
    assert [record.user_id for _, _, record in log.records] == [one["open_id"] for one in api.items]
    first, second = (record for _, _, record in log.records[:2])
    assert (first.type, first.event_time_ms) == (EventType.PROFILE, 1_795_536_000_000)
    assert first.profile == ("age=18-24", "interest=cats", "interest=tea")
    assert second.profile == ("age=25-34", "region=north", "interest=cats", "interest=tea")


def test_a_profile_is_published_again_when_its_words_have_changed_and_no_file_names_the_user(tmp_path):
    api, log = PagedApi(people(5)), MemoryLog()
    collect_profiles(tmp_path, api, log, rename=lambda user: f"p-{user}")
    api.items[3]["location"] = {"province": "south"}
    api.items += [people(6)[5] | {"age": 9}]  # a word that the map does not know
    with CursorStore(tmp_path / "profiles.sqlite") as store:
        store.finish([], "0")  # as an API that is asked from its beginning again
    found = collect_profiles(tmp_path, api, log, rename=lambda user: f"p-{user}")
    assert (found.published, found.repeated, found.invalid) == (1, 4, 1)
    assert log.records[-1][2].user_id == "p-person-3"
    assert "region=south" in log.records[-1][2].profile
    assert b"person" not in (tmp_path / "profiles.sqlite").read_bytes()


def test_the_rate_is_kept(tmp_path):
    api, clock = PagedApi(items(100)), HandClock()
    with serving(api) as url:
        run(tmp_path, url, MemoryLog(), clock, rate=4.0)
    assert clock.now == pytest.approx(9 * 0.25)


@pytest.mark.parametrize("after", range(0, 25, 4))
def test_a_kill_within_a_page_loses_and_doubles_nothing(tmp_path, after):
    api, log = PagedApi(items(25)), MemoryLog()
    with serving(api) as url:
        log.kill_after = after
        with pytest.raises(Killed):
            run(tmp_path, url, log)
        log.kill_after = None
        found = run(tmp_path, url, log)
    assert log.ids == [item["item_id"] for item in api.items]
    assert found.recovered == after % 10


def test_a_kill_between_publishing_and_storing_doubles_nothing_even_when_the_page_has_changed(tmp_path):
    api, log = PagedApi(items(25)), MemoryLog()
    with serving(api) as url:
        log.kill_at_flush = True
        with pytest.raises(Killed):
            run(tmp_path, url, log)
        log.kill_at_flush = False
        api.items.insert(0, items(30)[29])
        run(tmp_path, url, log)
    assert sorted(log.ids) == sorted(item["item_id"] for item in api.items)


def test_it_goes_on_where_it_was_and_publishes_what_is_new_or_changed(tmp_path):
    api, log = PagedApi(items(15)), MemoryLog()
    with serving(api) as url:
        run(tmp_path, url, log, pages=1)
        run(tmp_path, url, log)
        assert api.asked == ["", "10"]
        api.items += items(18)[15:]
        run(tmp_path, url, log)
        assert len(log.ids) == 18
        (tmp_path / "videos.sqlite").unlink()
        with CursorStore(tmp_path / "videos.sqlite") as store:
            store.finish([(record_id, digest) for record_id, digest, _ in log.records])
        api.items[4]["title"] = "Mended"
        found = run(tmp_path, url, log)
    assert (found.published, log.ids[-1]) == (1, api.items[4]["item_id"])


def test_what_cannot_be_used_is_counted_and_said_once(tmp_path):
    api, log, said = PagedApi(items(5)), MemoryLog(), []
    del api.items[1]["author"]
    api.items[2]["create_time"] = "yesterday"
    with serving(api) as url:
        found = run(tmp_path, url, log, said=said)
    assert (found.published, found.invalid, len(said)) == (3, 2, 1)
    assert "author_id" in said[0]


def test_giving_up_is_a_sentence_and_nothing_is_lost(tmp_path):
    api, log = PagedApi(items(5)), MemoryLog()
    with serving(api) as url:
        api.faults = [500] * 8
        with pytest.raises(ConfigError, match="failed 8 times"):
            run(tmp_path, url, log)
        run(tmp_path, url, log)
    assert len(log.ids) == 5


@pytest.mark.parametrize(("token", "match"), [("wrong", "FRESHLOOP_COLLECT_TOKEN"), ("right", None)])
def test_the_token(tmp_path, token, match):
    api = PagedApi(items(5), token="right")
    with serving(api) as url:
        if match is None:
            assert run(tmp_path, url, MemoryLog(), token=token).published == 5
        else:
            with pytest.raises(ConfigError, match=match):
                run(tmp_path, url, MemoryLog(), token=token)


def test_two_of_one_name_cannot_run(tmp_path):
    with CursorStore(tmp_path / "a.sqlite"), pytest.raises(ConfigError, match="runs already"):
        CursorStore(tmp_path / "a.sqlite")


def test_an_api_that_stands_still_ends(tmp_path):
    api = PagedApi(items(5))
    api.answer = lambda cursor: {"data": {"list": api.items, "cursor": 5, "has_more": True}}
    with serving(api) as url:
        assert run(tmp_path, url, MemoryLog()).pages == 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("name = 1", "Expected `str`"),
        ('name="a"\ntopic="songs"\nurl="http://x"\nitems="i"\ncursor="c"\n[fields]', "songs"),
        ('name="a"\ntopic="videos"\nurl="http://x"\nitems="i"\ncursor="c"\n[fields]\ncolour="c"', "colour"),
        ('name="a"\ntopic="videos"\nurl="ftp://x"\nitems="i"\ncursor="c"\n[fields]', "url"),
        ('name="a"\ntopic="profiles"\nurl="http://x"\nitems="i"\ncursor="c"\n[fields]', "profile"),
        ("name = ", "collect.toml"),
    ],
)
def test_a_wrong_mapping_is_one_sentence(tmp_path, text, match):
    (tmp_path / "collect.toml").write_text(text)
    with pytest.raises(ConfigError, match=match):
        load_mapping(tmp_path / "collect.toml")


def test_paths():
    value = {"a": [{"b": {"c": 1}}, {"b": {"c": 2}}], "d": {"e": [1]}}
    assert at("a[].b.c", value) == [1, 2]
    assert at("d.e[]", value) == [1]
    assert at("d.x.y", value) is None
    assert at("d[].x", value) is None
