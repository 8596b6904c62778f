from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from producers.lines import Damage
from producers.logs import InteractionsLog, KuairandLog, detect_unit, event_id, event_number, exposure_event
from streams.codecs import Decoder, encode
from streams.config import ConfigError
from streams.core.events import Event, EventType, Source, Video
from tests.kuairand import FIRST_MS, STREAM, exposure, video_row, write

SHARED = Path(__file__).parents[3].resolve().parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not there")


@pytest.fixture
def told():
    return []


@pytest.fixture
def damage(told):
    return Damage(told.append)


# KuaiRand


@needs_shared
def test_the_real_log_is_read_whole(damage):
    log = KuairandLog(SHARED / "kuairand")
    rows = list(log.exposures(damage))
    videos = list(log.videos(damage))
    assert (len(rows), len({row.user_id for row in rows}), len(videos), damage.count) == (92_034, 21_184, 7_583, 0)
    assert len({row.number for row in rows}) == 92_034
    assert sum(row.long_view for row in rows) == 28_946
    assert sum(row.duration_ms == 0 for row in rows) == 1_665
    assert {row.video_id for row in rows} <= {video.video_id for video in videos}
    ages = [(row.time_ms - FIRST_MS) / 86_400_000 for row in rows]
    assert min(ages) == 0
    assert max(ages) < 7
    oldest = (FIRST_MS - min(video.published_ms for video in videos)) / 86_400_000
    assert 15 < oldest < 17
    decode = Decoder(Event)
    assert all(decode(encode(event)) == event for event in (exposure_event(row, "r") for row in rows[:2000]))
    decode_video = Decoder(Video)
    assert all(decode_video(encode(video)) == video for video in videos)


@needs_shared
def test_the_real_histories_end_before_the_stream_or_say_when(damage):
    histories = list(KuairandLog(SHARED / "kuairand").histories(damage))
    assert (len(histories), damage.count) == (26_469, 0)
    assert histories[0].watched[:2] == ("7136", "7136")
    assert set(histories[0].long_watched) <= set(histories[0].watched)


def test_an_exposure_becomes_one_event_with_what_the_viewer_did(tmp_path, damage):
    write(tmp_path, [exposure(play="61802", duration="49866", like=1, hate=1)], [video_row()])
    (event,) = KuairandLog(tmp_path).events("run", damage)
    assert event == Event(
        event_id="run-2",
        user_id="1",
        type=EventType.WATCH,
        event_time_ms=FIRST_MS,
        video_id="2",
        watch_ms=61_802,  # longer than the video: kept raw
        duration_ms=49_866,
        actions=(EventType.LIKE, EventType.HIDE),
        source=Source.LOG,
    )


def test_no_playback_is_data_and_no_duration_is_none(tmp_path, damage):
    write(tmp_path, [exposure(play="0", duration="0")], [video_row()])
    (event,) = KuairandLog(tmp_path).events("run", damage)
    assert (event.watch_ms, event.duration_ms) == (0, None)


def test_a_video_is_published_when_its_upload_day_begins_in_china(tmp_path, damage):
    write(tmp_path, [], [video_row(tag='"20,43"', music="0"), video_row(video=3, duration="", tag="")])
    two_tags, plain = KuairandLog(tmp_path).videos(damage)
    assert two_tags.published_ms == 1_649_520_000_000  # 2022-04-10 00:00 +08:00
    assert (two_tags.tags, two_tags.music_id, two_tags.duration_ms) == (("20", "43"), "", 9_000)
    assert (plain.tags, plain.music_id, plain.duration_ms) == ((), "77", 0)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (exposure(play="soon"), "play_time_ms is 'soon', not a number"),
        (exposure(play="-5"), "play_time_ms is -5, not within"),
        (exposure(play="nan"), "play_time_ms is nan, not a finite number"),
        (exposure(play="1.5"), "play_time_ms is '1.5', not a whole number"),
        (exposure(duration="99999999999"), "duration_ms is 99999999999, not within"),
        (exposure(at=FIRST_MS + 10**12), "time_ms is 2650812741436, not within"),
        (exposure(user=""), "user_id is empty"),
        (exposure(user="u" * 129), "user_id has 129 characters"),
        (exposure(like=7), "is_like is 7, not within 0 and 1"),
        (exposure() + ",1", "20 columns instead of 19"),
        ("1,2,3", "3 columns instead of 19"),
        ('"' + exposure(), "unexpected end of data"),
    ],
)
def test_a_damaged_line_is_told_with_its_number_and_left_out(tmp_path, damage, told, row, what):
    write(tmp_path, [exposure(user=1), row, exposure(user=3)], [video_row()])
    events = list(KuairandLog(tmp_path, latest_ms=2_000_000_000_000).events("run", damage))
    assert [event.event_id for event in events] == ["run-2", "run-4"]
    assert damage.count == 1
    assert told[0].startswith("stream_test.csv.gz, line 3: ")
    assert what in told[0]


def test_broken_utf8_is_told_and_left_out(tmp_path, damage, told):
    write(tmp_path, [], [video_row()])
    lines = [STREAM, exposure(user="ü"), exposure(user=3)]
    (tmp_path / "stream_test.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode("latin-1")))
    assert [event.user_id for event in KuairandLog(tmp_path).events("run", damage)] == ["3"]
    assert told == ["stream_test.csv.gz, line 2: not UTF-8 at byte 0; it is left out"]


@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_a_damaged_archive_gives_what_comes_before_the_damage(tmp_path, damage, told, harm):
    write(tmp_path, [exposure(user=number, at=FIRST_MS + number**3) for number in range(5000)], [video_row()])
    path = tmp_path / "stream_test.csv.gz"
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(whole[:half] if harm == "cut" else whole[:half] + bytes(64) + whole[half + 64 :])
    events = list(KuairandLog(tmp_path).events("run", damage))
    assert 500 < len(events) < 5000
    assert damage.count >= 1
    assert "the compressed file is cut or damaged here" in told[-1]


def test_an_endless_line_is_not_held_in_memory(tmp_path, damage, told):
    write(tmp_path, [exposure(user=1), "x" * 5_000_000, exposure(user=3)], [video_row()])
    assert [event.user_id for event in KuairandLog(tmp_path).events("run", damage)] == ["1", "3"]
    assert told == ["stream_test.csv.gz, line 3: longer than 1048576 bytes; it is left out"]


def test_many_damaged_lines_are_counted_and_not_all_told(tmp_path, told):
    damage = Damage(told.append, shown=3)
    write(tmp_path, [exposure(play="?")] * 50, [video_row()])
    assert list(KuairandLog(tmp_path).events("run", damage)) == []
    damage.conclude()
    assert damage.count == 50
    assert len(told) == 4
    assert told[3] == "47 more damaged lines are left out"


def test_rows_of_several_files_are_numbered_on(tmp_path, damage):
    write(tmp_path, [exposure(user=1), exposure(user=2)], [video_row()], name="stream_a.csv.gz")
    write(tmp_path, [exposure(user=3)], [video_row()], name="stream_b.csv.gz")
    events = list(KuairandLog(tmp_path).events("run", damage))
    assert [(event.user_id, event.event_id) for event in events] == [("1", "run-2"), ("2", "run-3"), ("3", "run-5")]


def test_a_folder_that_holds_no_log_is_named(tmp_path, damage):
    with pytest.raises(ConfigError, match=r"has no stream_\*\.csv\*; name the folder"):
        list(KuairandLog(tmp_path).events("run", damage))


def test_a_header_that_lacks_a_column_is_named(tmp_path, damage):
    write(tmp_path, [], [video_row()])
    (tmp_path / "stream_test.csv.gz").write_bytes(gzip.compress(b"user_id,video_id\n1,2\n"))
    with pytest.raises(ConfigError, match="has no column 'time_ms'; its header has user_id, video_id"):
        list(KuairandLog(tmp_path).events("run", damage))


def test_a_damaged_history_is_left_out(tmp_path, damage, told):
    good = {"user_id": 4, "last_time_ms": 5, "watch_seq": [1, 2], "like_seq": [], "long_watch_seq": [2]}
    rows = [json.dumps(good), '{"user_id": ', "[]", json.dumps(good | {"watch_seq": None})]
    (tmp_path / "warm_sequences_to_1.jsonl").write_text("\n".join(rows))
    (history,) = KuairandLog(tmp_path).histories(damage)
    assert (history.user_id, history.watched, history.long_watched) == ("4", ("1", "2"), ("2",))
    assert [text.split(":")[0] for text in told] == [f"warm_sequences_to_1.jsonl, line {line}" for line in (2, 3, 4)]


# interactions


@needs_shared
def test_the_real_clicks_are_read_without_a_word(damage):
    rows = list(InteractionsLog(SHARED / "yoochoose" / "yoochoose-clicks-100k_train_valid.txt").rows(damage))
    assert (len(rows), damage.count) == (16_539, 0)
    assert all(1.39e12 < row.time_ms < 1.42e12 for row in rows)


def interactions(tmp_path, text, **options):
    path = tmp_path / "log.csv"
    path.write_text(text)
    return InteractionsLog(path, **options)


@pytest.mark.parametrize(
    ("time", "unit"),
    [("1650812741", "s"), ("1650812741.436", "s"), ("1650812741436", "ms"), ("1650812741436000", "us"),
     ("1650812741436000000", "ns"), ("2022-04-24T15:05:41.436Z", "iso"), ("2022-04-24 23:05:41.436+08:00", "iso"),
     ("2022-04-24T15:05:41.436", "iso")],
)  # fmt: skip
def test_the_unit_of_time_is_told_by_its_size(tmp_path, damage, time, unit):
    assert detect_unit(time) == unit
    (row,) = interactions(tmp_path, f"user,item,time\na,b,{time}\n").rows(damage)
    assert abs(row.time_ms - FIRST_MS) < 1000


def test_the_unit_is_settled_by_the_first_row_that_can_be_read(tmp_path, damage, told):
    rows = list(interactions(tmp_path, "user,item,time\na,b,never\na,b,1650812741\na,b,1650812741436\n").rows(damage))
    assert [row.number for row in rows] == [3]
    assert [text.split(":")[0] for text in told] == ["log.csv, line 2", "log.csv, line 4"]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_delimiter_and_usual_names_are_found(tmp_path, damage, delimiter):
    text = "\n".join(delimiter.join(row) for row in (("SessionId", "ItemId", "Time"), ("s", "i", "1650812741")))
    (row,) = interactions(tmp_path, text).rows(damage)
    assert (row.user_id, row.item_id, row.value) == ("s", "i", None)


def test_named_columns_a_value_and_the_threshold_of_liking(tmp_path, damage):
    text = "who,what,when,stars\na,x,1650812741,4\nb,y,1650812742,2.5\nc,z,1650812743,\n"
    log = interactions(tmp_path, text, user="who", item="what", time="when", value="stars", liked_from=3.0)
    first, second = log.events("run", damage)
    assert (first.type, second.type) == (EventType.LIKE, EventType.WATCH)
    assert (first.source, first.watch_ms, second.event_id) == (Source.LOG, None, "run-3")
    assert damage.count == 1


def test_an_item_is_published_when_it_is_first_seen_by_an_author_of_its_own(tmp_path, damage):
    text = "user,item,time\na,x,1650812743\nb,y,1650812742\nc,x,1650812741\n"
    videos = list(interactions(tmp_path, text).videos(damage))
    assert [(v.video_id, v.author_id, v.published_ms) for v in videos] == [
        ("x", "x", 1_650_812_741_000),
        ("y", "y", 1_650_812_742_000),
    ]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("a,b,c\n", {}, "no user column is known in .*; say --user with one of a, b, c"),
        ("user,item,c\n", {}, "no time column"),
        ("user,item,time\n", {"value": "stars"}, "has no column 'stars'"),
        ("user,item,time\n", {"user": "who"}, "has no column 'who'"),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path, damage, text, options, message):
    with pytest.raises(ConfigError, match=message):
        list(interactions(tmp_path, text, **options).rows(damage))


def test_a_time_in_the_future_is_damage(tmp_path, damage, told):
    log = interactions(tmp_path, "user,item,time\na,x,1650812741\nb,y,1950812742\n", latest_ms=1_700_000_000_000)
    assert [row.user_id for row in log.rows(damage)] == ["a"]
    assert told == ["log.csv, line 3: time is 1950812742, in the future; it is left out"]


# ids


def test_an_event_id_belongs_to_exactly_one_run():
    assert event_number("a", event_id("a", 17)) == 17
    assert event_number("a-1", event_id("a-1", 5)) == 5
    assert event_number("a", event_id("a-1", 5)) is None
    assert event_number("a", "a-") is None
    assert event_number("a", "a-5x") is None
    assert event_number("a", "5") is None
