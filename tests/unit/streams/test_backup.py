"""The file of a backup: whole and sound, or refused; and states that begin anew elsewhere."""

import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.backup import Row, moved, place_of, rows_of, write
from streams.config import ConfigError
from streams.core.layout import chunk_key, header_of, last_offset_of, pack_chunk, user_key
from streams.core.state import UserStates
from streams.http.directory import partition_of
from tests.state_records import SHAPE, columns, filled, pool

NOW_MS = 1_795_536_000_000
ROWS = [
    Row("states", b"ua", b"\x00\xff" * 40),
    Row("models", b"default/1/chunk/0", bytes(5000)),
    Row("videos", b"v", b"{}"),
]


def written(rows=ROWS):
    out = io.BytesIO()
    assert sum(write(out, rows, NOW_MS).values()) == len(rows)
    return out.getvalue()


def read(tmp_path, data):
    path = tmp_path / "b"
    path.write_bytes(data)
    return list(rows_of(path))


def test_what_is_written_is_read(tmp_path):
    assert read(tmp_path, written()) == ROWS
    assert read(tmp_path, written([])) == []


def test_the_same_rows_make_the_same_file():
    assert written() == written()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backup")


def test_a_last_frame_that_is_said_to_be_longer_is_refused_and_so_is_what_stands_behind_it(folder):
    whole = gzip.decompress(written())
    size = whole.rindex(b"\x83\xa4type\xa4tail") - 4
    for at in range(size, size + 4):
        with pytest.raises(ConfigError):
            read(folder, gzip.compress(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :]))
    with pytest.raises(ConfigError):
        read(folder, gzip.compress(whole + b"\0"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_that_is_cut_or_changed_is_refused(folder, data):
    whole = gzip.decompress(written())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:at]
    else:
        broken = whole[:at] + bytes((whole[at] ^ (1 << data.draw(st.integers(0, 7))),)) + whole[at + 1 :]
    with pytest.raises(ConfigError):
        read(folder, gzip.compress(broken))


@pytest.mark.parametrize("data", [b"", b"no backup", written()[:60], gzip.compress(b"\x02\x00\x00\x00\x81\x00")])
def test_what_is_no_backup_is_one_sentence(tmp_path, data):
    with pytest.raises(ConfigError, match="backup"):
        read(tmp_path, data)


def test_a_state_elsewhere_knows_its_user_and_no_offset():
    states = filled()
    records = states.pack(["a"])
    there = {key: moved(Row("states", key, value)) for key, value in records.items()}
    again = UserStates(SHAPE, pool())
    again.load("a", there[user_key("a")], there)
    before, now = columns(states), columns(again)
    assert {name for name in before if before[name] != now[name]} == {"last_offset", "slate_offsets"}
    assert last_offset_of(there[user_key("a")]) == -1
    assert again.seen_keys(again.row("a")).tolist() == states.seen_keys(states.row("a")).tolist()
    assert not again.impressions
    assert header_of(there[user_key("a")]).unlabelled == 0


def test_a_state_of_an_unknown_layout_is_one_sentence():
    record = filled().pack(["a"])[user_key("a")]
    with pytest.raises(ConfigError, match="layout 250"):
        moved(Row("states", user_key("a"), bytes((250,)) + record[1:]))


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()), st.integers(1, 40))
def test_states_and_chunks_go_to_the_partition_of_their_user(user, partitions):
    there = partition_of(user, partitions)
    assert place_of(Row("states", user_key(user), b""), partitions) == there
    assert place_of(Row("states", chunk_key(user, 3), pack_chunk(1, b"")), partitions) == there
    assert place_of(Row("models", b"x", b""), partitions) == 0
