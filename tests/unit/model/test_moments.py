import numpy as np

from model.moments import Moments


def state():
    return {"steps": np.array([7], np.int64), "first.head.bias": np.array([0.5], np.float32)}


def test_what_was_kept_comes_back_for_its_version(tmp_path):
    kept = Moments(tmp_path / "trainer" / "default")
    kept.save(3, {0: 10, 2: 30}, state())
    offsets, found = kept.load(3)
    assert offsets == {0: 10, 2: 30}
    assert found.keys() == state().keys()
    assert found["steps"][0] == 7


def test_the_state_of_another_version_is_no_use(tmp_path):
    kept = Moments(tmp_path)
    assert kept.load(3) is None
    kept.save(3, {}, state())
    assert kept.load(4) is None
    assert kept.load(3)[0] == {}


def test_a_damaged_file_is_said_and_passed_over(tmp_path, caplog):
    kept = Moments(tmp_path)
    kept.save(3, {0: 1}, state())
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert kept.load(3) is None
    assert "cannot be read" in caplog.text


def test_a_folder_that_cannot_be_written_does_not_stop_learning(tmp_path, caplog):
    (tmp_path / "taken").write_text("a file where a folder should be")
    Moments(tmp_path / "taken").save(3, {0: 1}, state())
    assert "cannot be kept" in caplog.text
