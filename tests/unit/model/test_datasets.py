import numpy as np
import pytest

from model.datasets import Columns, interactions, kuairand, sessions
from streams.config import ConfigError
from tests.unit.model.evaluation_world import BEGINS_MS, VIDEOS, write_kuairand


def test_kuairand_is_read_in_the_order_of_time(tmp_path):
    data = kuairand(*write_kuairand(tmp_path)[:2], [write_kuairand(tmp_path)[2]])
    assert data.catalogue == VIDEOS
    assert len(data.streams[0][1]) == 400
    assert (np.diff(data.warm.time_ms) >= 0).all()
    assert data.warm.time_ms.max() < BEGINS_MS
    assert data.streams[0][1].target.sum() == data.streams[0][1].positive.sum()


def test_a_damaged_line_is_counted_and_left_out(tmp_path):
    warm, features, stream = write_kuairand(tmp_path)
    warm.write_text(warm.read_text() + "{broken\n" + '{"user_id": 1}\n')
    assert kuairand(warm, features, [stream]).damaged == 2


def test_a_missing_file_and_a_missing_column_are_one_sentence(tmp_path):
    warm, features, stream = write_kuairand(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        kuairand(tmp_path / "none", features, [stream])
    features.write_text("video_id\n1\n")
    with pytest.raises(ConfigError, match="no column author_id"):
        kuairand(warm, features, [stream])


def write_sessions(path, rows):
    lines = "".join(f"{s}\t{i}\t{t}\n" for s, i, t in rows)
    path.write_text("SessionId\tItemId\tTime\n" + lines)
    return path


def test_the_first_click_of_a_session_is_no_target(tmp_path):
    warm = write_sessions(tmp_path / "a", [(1, "x", 10.5), (1, "y", 11)])
    stream = write_sessions(tmp_path / "b", [(1, "y", 20), (2, "z", 21), (1, "x", 22), (1, "y", 23)])
    data = sessions(warm, [stream])
    log = data.streams[0][1]
    assert log.target.tolist() == [False, False, True, True]
    assert not data.filter_seen
    assert data.catalogue == 2
    assert set(data.warm.user.tolist()).isdisjoint(log.user.tolist())  # a session id means nothing in another file


def test_items_are_numbered_as_they_appear(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,timestamp\nu,late,300\nu,first,100\nv,second,200\n")
    data = interactions(path, [], Columns(), 2, True)
    assert data.items.index == {"first": 0, "second": 1, "late": 2}
    assert data.catalogue == 2
    assert data.streams[0][1].item.tolist() == [2]


def test_interactions_need_something_to_judge(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\nu,a,1\n")
    with pytest.raises(ConfigError, match="leaves nothing to judge"):
        interactions(path, [], Columns(), 5, True)
    with pytest.raises(ConfigError, match="no item column"):
        path.write_text("user,thing,time\nu,a,1\n")
        interactions(path, [], Columns(), 1, True)
