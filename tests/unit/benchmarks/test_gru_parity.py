"""The plain GRU beside the official one: which clicks are judged, and that it learns what follows what."""

import numpy as np
import pytest

from benchmarks.gru_parity import PLAIN, run, without_unknown
from model.datasets import sessions
from model.sequence import SequenceConfig

pytestmark = pytest.mark.training


@pytest.fixture
def data(tmp_path):
    """Sessions in which each of 30 items is followed by the next; the stream names an item more."""
    rng = np.random.default_rng(0)

    def write(name, count, odd):
        lines = ["SessionId\tItemId\tTime"]
        for session in range(count):
            start = int(rng.integers(30))
            items = [(start + step) % 30 for step in range(5)]
            if odd:
                items.insert(1, 99)
            lines += [f"{session}\t{item}\t{100 * session + step}" for step, item in enumerate(items)]
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return sessions(write("train.tsv", 300, False), [write("valid.tsv", 40, True)])


def test_unknown_items_are_taken_out_and_the_rest_of_a_session_is_judged(data):
    log = data.streams[0][1]
    assert data.catalogue == 30
    assert len(log) == 240
    left = without_unknown(log, data.catalogue)
    assert len(left) == 200
    assert left.item.max() < 30
    assert int(left.target.sum()) == 160
    assert not left.target[np.unique(left.user, return_index=True)[1]].any()


def test_what_follows_what_is_learned(data):
    config = SequenceConfig(units=16, steps=5, epochs=40, batch=32, rate=0.01, logq=1.0, view_weight=0.0, negatives=64)
    got = run(data, config, 1)
    assert got["targets"] == 160
    assert got["all_targets"] == 200
    assert got["mrr_at_20"] > 0.8
    assert got["mrr_at_20_of_all"] == pytest.approx(got["mrr_at_20"] * 160 / 200, abs=1e-3)
    assert PLAIN.logq == 1.0
